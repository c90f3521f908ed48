"""Credentials of a role, which another role or user assumes.

Guarantees:
- Nothing is sent before the first request, so a snapshot contains no credentials.
- The credentials are kept and renewed before they expire. A renewal that fails uses the present ones
  while they are valid.
- A request of a renewal takes at most `CONNECT_SECONDS` of the HTTP client and `RESPONSE_SECONDS`.
- Two causes of an error are corrected within the same renewal, each of them once: another clock than
  that of STS, and source credentials that have expired.
- No message contains a secret.

Design: one renewal in an hour does not justify a kept connection, which would be closed in between.
The expiration is compared with the clock of this environment, so it is shifted by the difference
between that clock and the one of STS.

References: STS API Reference, "AssumeRole".
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from logferry.aws import sts
from logferry.aws.credentials import RenewedCredentials
from logferry.aws.request_signer import CLOCK, CREDENTIALS, RequestSigner
from logferry.errors import SinkError, SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from logferry.http_client.tls import TlsContexts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logferry.aws.credential_provider import CredentialProvider
    from logferry.aws.role import Role
    from logferry.aws.sigv4 import Credentials
    from logferry.http_client.response import Response

RESPONSE_SECONDS = 2.0
"""Limit for a response of STS, in seconds. It usually takes less than 0.2 s."""
_OK = 200


class AssumedRole:
    """The current credentials of a role."""

    def __init__(
        self,
        role: Role,
        source: CredentialProvider,
        environ: Mapping[str, str],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`source` has the credentials of the caller. `environ` names the certificate authorities."""
        self._role = role
        self._address = sts.address_of(role)
        self._tls = TlsContexts(self._address.host, environ) if self._address.tls else None
        self._wall_clock = wall_clock
        self._signer = RequestSigner(source, "sts", wall_clock)
        self._credentials = RenewedCredentials(self._assume, wall_clock=wall_clock)

    async def get(self) -> Credentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""
        return await self._credentials.get()

    def expire(self, rejected: Credentials) -> None:
        """Renew credentials that a service has rejected as expired, unless another request has done so."""
        self._credentials.expire(rejected)

    async def _assume(self) -> tuple[Credentials, float]:
        """Return credentials and their expiration by the clock of this environment."""
        try:
            response = await self._signer.exchange(self._send, _cause_of)
            if response.status == _OK:
                credentials, expires_at = sts.parse_credentials(response.body)
                return credentials, expires_at - self._signer.clock_offset
        except (HttpError, OSError) as error:
            raise SinkUnavailable(sts.event_of(self._role, error)) from error
        except SinkError as error:
            raise error.restated(sts.event_of(self._role, error)) from error
        raise sts.classify(self._role, sts.parse_error(response.status, response.body))

    async def _send(self, caller: Credentials) -> Response:
        address, body = self._address, sts.body_of(self._role)
        headers = self._signer.sign(
            "POST",
            address.base_path,
            {"content-type": sts.CONTENT_TYPE, "host": address.host_header},
            payload_sha256=hashlib.sha256(body).hexdigest(),
            credentials=caller,
            region=self._role.region,
            encode_path_twice=True,
        )
        headers |= {"content-length": str(len(body)), "user-agent": "logferry", "accept-encoding": "identity"}
        client = HttpClient(
            address.host,
            address.port,
            self._tls,
            timeout_seconds=RESPONSE_SECONDS,
            remedies=sts.CONNECTION_REMEDIES,
            wall_clock=self._wall_clock,
        )
        try:
            return await client.request("POST", address.base_path, headers, body)
        finally:
            client.close()


def _cause_of(response: Response) -> str:
    """Return the cause of an error that can be corrected, or an empty string."""
    if response.status == _OK:
        return ""
    error = sts.parse_error(response.status, response.body)
    if error.is_skewed:
        return CLOCK
    return CREDENTIALS if error.code in sts.EXPIRED_CODES else ""
