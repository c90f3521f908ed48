"""Signatures of requests with the current credentials and a clock that a service has corrected.

Guarantees:
- A request is signed for the moment at which `sign` is called. A signature from before a freeze would be out of date.
- A response that shows how the request must be corrected leads to a corrected request. There are two corrections (clock
  and expired credentials), and each is made once for a request. Later requests use the corrected values.

Design: a service rejects a request whose time differs by more than five minutes (S3: fifteen), and a function cannot
set its clock. The owner decides which responses call for a correction, because services differ in their codes.

References: IAM User Guide, "Create a signed AWS API request"; AWS SDKs and Tools Reference Guide, "Clock skew".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.aws import sigv4
from logferry.aws.timestamps import amz_date, parse_http_date

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from logferry.aws.credential_provider import CredentialProvider
    from logferry.http_client.response import Response

CLOCK, CREDENTIALS = "clock", "credentials"
"""Causes of an error that can be corrected."""


class RequestSigner:
    """The credentials and the clock of the requests to one service."""

    def __init__(self, credentials: CredentialProvider, service: str, wall_clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._service = service
        self._wall_clock = wall_clock
        self.clock_offset = 0.0
        """Time of the service minus the time of this environment, in seconds."""

    async def prepare(self) -> None:
        """Fetch the credentials before they are needed. Raises SinkUnavailable or SinkRejected."""
        await self._credentials.get()

    async def exchange(
        self, send: Callable[[sigv4.Credentials], Awaitable[Response]], cause_of: Callable[[Response], str]
    ) -> Response:
        """Send a request, and once more after each correction that its response calls for; return the last response.

        `send` signs and sends the request with the credentials. `cause_of` returns CLOCK, CREDENTIALS, the name of a
        cause that it has corrected itself, or an empty string. Raises the errors of `send`, SinkUnavailable or
        SinkRejected.
        """
        corrected: set[str] = set()
        while True:
            credentials = await self._credentials.get()
            response = await send(credentials)
            cause = cause_of(response)
            if not cause or cause in corrected or not await self._correct(cause, response, credentials):
                return response
            corrected.add(cause)

    def sign(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        payload_sha256: str,
        credentials: sigv4.Credentials,
        region: str,
        encode_path_twice: bool,
    ) -> dict[str, str]:
        """Return the headers of a request with its signature. `headers` contains `host`; all of them are signed."""
        return {**headers} | sigv4.sign(
            method,
            path,
            "",
            headers,
            payload_sha256=payload_sha256,
            credentials=credentials,
            region=region,
            service=self._service,
            amz_date=amz_date(self._wall_clock() + self.clock_offset),
            encode_path_twice=encode_path_twice,
        )

    async def _correct(self, cause: str, response: Response, rejected: sigv4.Credentials) -> bool:
        """Correct the cause of an error; return False if nothing has changed."""
        if cause == CLOCK:
            service_time = parse_http_date(response.headers.get("date", ""))
            if service_time is not None:
                self.clock_offset = service_time - self._wall_clock()
            return service_time is not None
        if cause == CREDENTIALS:
            self._credentials.expire(rejected)
            return await self._credentials.get() != rejected
        return True
