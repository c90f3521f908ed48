"""aiobotocore's HTTP session with verified host names, and the import of the AWS SDK.

Guarantees:
- Host names are verified, also behind a proxy. aiobotocore accepts a certificate for any name, and behind a proxy any
  certificate at all.
- Importing this module fails if aiobotocore no longer has the private methods that the guarantee depends on.

Design: aiohttp reads the certificate store of the system when it is imported (40 ms). SSL_CERT_FILE is set to an empty
file meanwhile, because logferry uses the SDK's certificates or those of AWS_CA_BUNDLE.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

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


def check_overridden_names(session: type) -> None:
    """Raise ImportError if a method that is overridden for security no longer exists in the base class."""
    if missing := [name for name in _OVERRIDDEN if not callable(getattr(session, name, None))]:
        raise ImportError(
            f"aiobotocore's {session.__name__} has no {', '.join(missing)}: host names would not be verified; "
            "install the aiobotocore version that logferry was tested with"
        )


check_overridden_names(AIOHTTPSession)


class VerifyingSession(AIOHTTPSession):  # type: ignore[misc]  # it ships no type information
    """An HTTP session that verifies host names; used as `http_session_cls`."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        """Return botocore's context; botocore leaves the comparison of names to urllib3, which is not used here."""
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        """Return a context for connections through a proxy, which aiobotocore would not verify."""
        return super()._setup_proxy_ssl_context(proxy_url) or self._get_ssl_context()
