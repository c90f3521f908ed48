"""The S3 client's HTTP session, which shows what was asked of it, connects ahead of need, and reads fewer certificates.

A client makes it (`http_session_cls`), so that proxies, timeouts and the kinds of errors are botocore's. TLS is not: as
aiobotocore has it, a certificate for any name was believed, and behind a proxy any at all.

Certificates: unless the client was given some (AWS_CA_BUNDLE), a host of AWS's own is believed on the five roots that
AWS asks its users to trust (Amazon Trust Services, "Certification authorities"). Reading them takes 2 ms of CPU, all
of botocore's take 20, in the first upload of each environment. Should AWS choose another root, one upload fails, and
the next believes in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientRequest
from botocore.exceptions import HTTPClientError, SSLError
from yarl import URL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

AMAZONS_ROOTS = str(Path(__file__).with_name("amazon_roots.pem"))
AMAZONS_HOSTS = ".amazonaws.com"
"""China's are signed by others."""


class Rehearsed(HTTPClientError):  # type: ignore[misc]
    """Nothing was sent, as was wanted."""

    fmt = "this was a rehearsal"


@dataclass(frozen=True)
class Seen:
    """A request without its body, which may be megabytes."""

    url: str
    headers: Mapping[str, str | bytes]


class Connections(AIOHTTPSession):  # type: ignore[misc]  # it ships no type information
    """Sends what a client or a signer has prepared, over connections that are kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rehearsing = False
        """While it is set nothing is sent: only `seen` is wanted."""
        self.seen: Seen | None = None
        """The last request."""
        self._verify: Any
        """Of the client: True for botocore's certificates, or the path of others."""
        self._ahead: ClientRequest | None = None
        self._doubted = False

    async def send(self, request: Any) -> Any:
        """Send a request; returns an AioAWSResponse whose body is read. Raises Rehearsed, or botocore's errors."""
        self.seen = Seen(request.url, request.headers)
        if self.rehearsing:
            raise Rehearsed
        self._believe(request.url)
        try:
            return await super().send(request)
        except SSLError:
            if self._verify == AMAZONS_ROOTS:
                self._doubted, self._verify = True, True
                self._sessions.clear()
            raise

    async def connect(self, url: str) -> None:
        """See to it that a connection to that host is open in the pool. Raises aiohttp.ClientError, TimeoutError.

        No request is made for it: S3 asks money for those. Behind a proxy nothing is done.
        """
        if self._proxy_config.proxy_url_for(url):
            return
        self._believe(url)
        session = await self._get_session(None)
        if self._ahead is None or str(self._ahead.url) != url:
            self._ahead = ClientRequest("PUT", URL(url, encoded=True), session=session)
        (await session.connector.connect(self._ahead, [], session.timeout)).release()

    def _get_ssl_context(self) -> ssl.SSLContext:
        """botocore's, which leaves the comparison of names to urllib3; here nobody would make it."""
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        """What is reached through a proxy is believed no more easily; aiobotocore would ask for no certificate."""
        return super()._setup_proxy_ssl_context(proxy_url) or self._get_ssl_context()

    def _believe(self, url: str) -> None:
        """Choose the certificates before the first connection is made, which settles them."""
        if self._verify is True and not self._doubted and (urlsplit(url).hostname or "").endswith(AMAZONS_HOSTS):
            self._verify = AMAZONS_ROOTS
