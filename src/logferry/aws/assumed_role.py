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

from logferry.aws import sigv4, sts
from logferry.aws.credentials import RenewedCredentials
from logferry.aws.timestamps import amz_date, parse_http_date
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
        self._source = source
        self._address = sts.address_of(role)
        self._tls = TlsContexts(self._address.host, environ) if self._address.tls else None
        self._wall_clock = wall_clock
        self._clock_offset = 0.0
        """Time of STS minus the time of this environment, in seconds."""
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
            response = await self._corrected_response()
            if response.status == _OK:
                credentials, expires_at = sts.parse_credentials(response.body)
                return credentials, expires_at - self._clock_offset
        except (HttpError, OSError) as error:
            raise SinkUnavailable(sts.event_of(self._role, error)) from error
        except SinkError as error:
            raise type(error)(sts.event_of(self._role, error)) from error
        raise sts.classify(self._role, sts.parse_error(response.status, response.body))

    async def _corrected_response(self) -> Response:
        """Send requests until none of the two corrections applies any more."""
        corrected: set[str] = set()
        while True:
            caller = await self._source.get()
            response = await self._send(caller)
            correction = await self._correction(response, caller)
            if not correction or correction in corrected:
                return response
            corrected.add(correction)

    async def _correction(self, response: Response, caller: Credentials) -> str:
        """Correct the cause of an error; return its name, or an empty string if there is no correction."""
        if response.status == _OK:
            return ""
        error = sts.parse_error(response.status, response.body)
        # 1. The clock differs from that of STS.
        if error.is_skewed:
            sts_time = parse_http_date(response.headers.get("date", ""))
            if sts_time is not None:
                self._clock_offset = sts_time - self._wall_clock()
                return "clock"
        # 2. The credentials of the caller have expired.
        if error.code in sts.EXPIRED_CODES:
            self._source.expire(caller)
            if await self._source.get() != caller:
                return "credentials"
        return ""

    async def _send(self, caller: Credentials) -> Response:
        address, body = self._address, sts.body_of(self._role)
        path = address.base_path or "/"
        signed = {"content-type": sts.CONTENT_TYPE, "host": address.host_header}
        signed |= sigv4.sign(
            "POST",
            path,
            "",
            signed,
            payload_sha256=hashlib.sha256(body).hexdigest(),
            credentials=caller,
            region=self._role.region,
            service="sts",
            amz_date=amz_date(self._wall_clock() + self._clock_offset),
            encode_path_twice=True,
        )
        unsigned = {"content-length": str(len(body)), "user-agent": "logferry", "accept-encoding": "identity"}
        client = HttpClient(
            address.host,
            address.port,
            self._tls,
            timeout_seconds=RESPONSE_SECONDS,
            remedies=sts.CONNECTION_REMEDIES,
            wall_clock=self._wall_clock,
        )
        try:
            return await client.request("POST", path, signed | unsigned, body)
        finally:
            client.close()
