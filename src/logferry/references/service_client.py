"""Requests to SSM or Secrets Manager with logferry's own HTTP client: AWS JSON 1.1, signed.

Guarantees:
- Each request is signed at the moment it is sent. A response that shows a wrong clock or expired credentials leads to
  one corrected request each.
- A response is JSON of the service, or an error. No error contains the body of a successful response.

References: Systems Manager API Reference, "GetParameters"; Secrets Manager API Reference, "GetSecretValue".
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from logferry.aws import json_errors
from logferry.aws.request_signer import RequestSigner
from logferry.errors import SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from logferry.http_client.tls import TlsContexts
from logferry.references import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logferry.aws.credentials import CredentialSource
    from logferry.aws.sigv4 import Credentials
    from logferry.http_client.address import Address
    from logferry.http_client.response import Response
    from logferry.references.services import Service

USER_AGENT = "logferry"
_OK = 200


class ServiceClient:
    """A client of one service in one region."""

    def __init__(
        self,
        service: Service,
        address: Address,
        *,
        region: str,
        environ: Mapping[str, str],
        credentials: CredentialSource,
        timeout_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the address without connecting."""
        self._service = service
        self._address = address
        self._region = region
        self._signer = RequestSigner(credentials, service.name, wall_clock)
        self._client = HttpClient(
            address.host,
            address.port,
            TlsContexts(address.host, environ) if address.tls else None,
            timeout_seconds=timeout_seconds,
            remedies=errors.connection_remedies(service),
            wall_clock=wall_clock,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    async def call(self, document: Mapping[str, Any], *, where: str) -> dict[str, Any]:
        """Return the response to the service's action. Raises SinkError, whose message begins with `where`."""
        body = json.dumps(document).encode()
        try:
            response = await self._signer.exchange(lambda keys: self._send(body, keys), json_errors.correctable_cause)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"{where}: {error}") from error
        if response.status != _OK:
            code, sentence = json_errors.parse_error(response.headers, response.body)
            raise errors.classify(self._service, where, response.status, code, sentence)
        try:
            found = json.loads(response.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):  # the body may contain values, so neither it nor the exception is shown
            raise SinkUnavailable(
                f"{where}: {self._service.title} responded 200 without a JSON object; check "
                f"{self._service.endpoint_variable} and proxies"
            )
        return found

    async def _send(self, body: bytes, credentials: Credentials) -> Response:
        path = self._address.base_path
        signed = self._signer.sign(
            "POST",
            path,
            {
                "host": self._address.host_header,
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": f"{self._service.target}.{self._service.action}",
            },
            payload_sha256=hashlib.sha256(body).hexdigest(),
            credentials=credentials,
            region=self._region,
            encode_path_twice=True,
        )
        unsigned = {"content-length": str(len(body)), "user-agent": USER_AGENT, "accept-encoding": "identity"}
        return await self._client.request("POST", path, signed | unsigned, body)
