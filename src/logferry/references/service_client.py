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

from logferry.aws import sigv4
from logferry.aws.timestamps import amz_date, parse_http_date
from logferry.errors import SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from logferry.http_client.tls import TlsContexts
from logferry.references import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logferry.aws.credentials import CredentialSource
    from logferry.http_client.response import Response
    from logferry.references.services import Address, Service

USER_AGENT = "logferry"
_OK = 200


class ServiceClient:
    """A client of one service in one region."""

    def __init__(
        self,
        service: Service,
        address: Address,
        *,
        environ: Mapping[str, str],
        credentials: CredentialSource,
        timeout_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the address without connecting."""
        self._service = service
        self._address = address
        self._credentials = credentials
        self._wall_clock = wall_clock
        self._clock_offset = 0.0
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
            response = await self._corrected(body)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"{where}: {error}") from error
        if response.status != _OK:
            code, sentence = errors.parse_error(response.headers, response.body)
            raise errors.classify(self._service, where, response.status, code, sentence)
        try:
            found = json.loads(response.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):  # the body may contain values, so neither it nor the exception is shown
            raise SinkUnavailable(
                f"{where}: {self._service.title} responded 200 without a JSON object; check "
                f"AWS_ENDPOINT_URL_{self._service.variable} and proxies"
            )
        return found

    async def _corrected(self, body: bytes) -> Response:
        """Send requests until none of the two corrections applies any more."""
        corrected: set[str] = set()
        while True:
            credentials = await self._credentials.get()
            response = await self._send(body, credentials)
            correction = await self._correction(response, credentials)
            if not correction or correction in corrected:
                return response
            corrected.add(correction)

    async def _send(self, body: bytes, credentials: sigv4.Credentials) -> Response:
        path = f"{self._address.base_path}/"
        signed = {
            "host": self._address.host_header,
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"{self._service.target}.{self._service.action}",
        }
        signed |= sigv4.sign(
            "POST",
            path,
            "",
            signed,
            payload_sha256=hashlib.sha256(body).hexdigest(),
            credentials=credentials,
            region=self._address.region,
            service=self._service.name,
            amz_date=amz_date(self._wall_clock() + self._clock_offset),
            encode_path_twice=True,
        )
        unsigned = {"content-length": str(len(body)), "user-agent": USER_AGENT, "accept-encoding": "identity"}
        return await self._client.request("POST", path, signed | unsigned, body)

    async def _correction(self, response: Response, credentials: sigv4.Credentials) -> str:
        """Correct the cause of an error; return its name, or an empty string if there is no correction."""
        if response.status == _OK:
            return ""
        code, sentence = errors.parse_error(response.headers, response.body)
        if errors.is_clock_error(code, sentence):
            service_time = parse_http_date(response.headers.get("date", ""))
            if service_time is not None:
                self._clock_offset = service_time - self._wall_clock()
                return "clock"
        if code in errors.EXPIRED_CODES:
            self._credentials.expire(credentials)
            if await self._credentials.get() != credentials:
                return "credentials"
        return ""
