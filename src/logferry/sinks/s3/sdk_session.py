"""aiobotocore's HTTP session with verified host names, and the import of the AWS SDK.

Guarantees:
- Host names are verified, also behind a proxy. aiobotocore accepts a certificate for any name, and
  behind a proxy any certificate at all.
- A response is read into memory up to a limit.
- Importing this module fails if aiobotocore no longer has the private methods that the guarantee
  depends on.

Design: aiohttp reads the certificate store of the system when it is imported (40 ms). SSL_CERT_FILE
is set to an empty file meanwhile, because logferry uses the SDK's certificates or those of
AWS_CA_BUNDLE.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_OVERRIDDEN = ("_get_ssl_context", "_setup_proxy_ssl_context")


@contextmanager
def no_system_certificates() -> Iterator[None]:
    """Import aiohttp inside, so that it finds an empty certificate store."""
    kept = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(kept, os.devnull))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with no_system_certificates():
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore.exceptions import HTTPClientError


def check_overridden_names(session: type) -> None:
    """Raise ImportError if the base class has no method that is overridden for security."""
    if missing := [name for name in _OVERRIDDEN if not callable(getattr(session, name, None))]:
        raise ImportError(
            f"aiobotocore's {session.__name__} has no {', '.join(missing)}: host names would not be verified; "
            "install the aiobotocore version that logferry was tested with"
        )


check_overridden_names(AIOHTTPSession)


MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Limit of a response that is read into memory. A list of 1,000 keys has at most 2 MB."""


class VerifyingSession(AIOHTTPSession):  # type: ignore[misc]  # it ships no type information
    """An HTTP session that verifies host names; used as `http_session_cls`."""

    async def send(self, request: Any) -> Any:
        """Send a request and return its response; HTTPClientError if the response is endless."""
        is_streamed, request.stream_output = request.stream_output, True
        response = await super().send(request)
        if not is_streamed:
            response._content = await _read_bounded(response.raw)  # noqa: SLF001 - or it is read unbounded
        return response

    def _get_ssl_context(self) -> ssl.SSLContext:
        """Return a context that verifies host names, which botocore leaves to urllib3."""
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        """Return a context for connections through a proxy, which aiobotocore would not verify."""
        return super()._setup_proxy_ssl_context(proxy_url) or self._get_ssl_context()


async def _read_bounded(response: Any) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            response.close()
            raise HTTPClientError(error=f"the response exceeds {MAX_RESPONSE_BYTES} bytes")
    return b"".join(parts)
