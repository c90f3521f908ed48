"""The S3 client's HTTP session, with two things more: it shows what was asked of it, and connects ahead of need.

A client makes it (`http_session_cls`), so that proxies, certificates, timeouts and the kinds of errors are botocore's.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientRequest
from botocore.exceptions import HTTPClientError
from yarl import URL


class Rehearsed(HTTPClientError):  # type: ignore[misc]
    """Nothing was sent, as was wanted."""

    fmt = "this was a rehearsal"


class Connections(AIOHTTPSession):  # type: ignore[misc]  # it ships no type information
    """Sends what a client or a signer has prepared, over connections that are kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rehearsing = False
        """While it is set nothing is sent: only `seen` is wanted."""
        self.seen: Any = None
        """The last request, an AWSPreparedRequest."""
        self._ahead: ClientRequest | None = None

    async def send(self, request: Any) -> Any:
        """Send a request; returns an AioAWSResponse whose body is read. Raises Rehearsed, or botocore's errors."""
        self.seen = request
        if self.rehearsing:
            raise Rehearsed
        return await super().send(request)

    async def connect(self, url: str) -> None:
        """See to it that a connection to that host is open in the pool. Raises aiohttp.ClientError, TimeoutError.

        No request is made for it: S3 asks money for those. Behind a proxy nothing is done.
        """
        if self._proxy_config.proxy_url_for(url):
            return
        session = await self._get_session(None)
        if self._ahead is None or str(self._ahead.url) != url:
            self._ahead = ClientRequest("PUT", URL(url, encoded=True), session=session)
        (await session.connector.connect(self._ahead, [], session.timeout)).release()
