"""Checks of the way to a host: name resolution, connection, TLS.

Guarantees:
- Each step is bounded by `CONNECT_SECONDS`, the limit of the extension for all three.
- Certificates are verified against the authorities that the extension trusts.
- After a failed step, the following ones are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from logferry.cli.check.result import Step
from logferry.errors import SinkRejected
from logferry.http_client.address import HTTP_PORT, HTTPS_PORT, authority
from logferry.http_client.client import CONNECT_SECONDS
from logferry.http_client.failures import CHECK_PROXY, Remedies, bounded, connect_failure, remedies
from logferry.http_client.tls import NAME_MISMATCH, TlsContexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

RESOLVE, CONNECT, TLS = "name", "connection", "TLS"
_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's verification errors for a certificate outside its period of validity."""
_NO_PORT = -1
_PROXY_PORTS = {"http": HTTP_PORT, "https": HTTPS_PORT}
_NO_TLS = "check that the port serves TLS: for a plain server, use http:// in the endpoint URL"


async def network_steps(
    host: str, port: int, environ: Mapping[str, str], *, tls: bool, remedies: Remedies
) -> AsyncIterator[Step]:
    """Yield the steps for a host. `tls` is False for a plain endpoint and for a proxy."""
    resolved = await _resolve(host, port, remedies)
    yield resolved
    connected = await _connect(host, port, remedies) if resolved.status == "ok" else None
    yield connected or Step(CONNECT, "skipped", "the name has no address")
    if not tls:
        return
    if not connected or connected.status != "ok":
        yield Step(TLS, "skipped", "there is no connection")
    else:
        yield await _tls(host, port, TlsContexts(host, environ))


async def proxy_steps(variable: str, environ: Mapping[str, str]) -> AsyncIterator[Step]:
    """Yield the steps for the proxy that a variable names. TLS is between this machine and the host behind it."""
    text = environ[variable]
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    port = proxy.port or _PROXY_PORTS.get(proxy.scheme, HTTP_PORT)
    async for step in network_steps(proxy.hostname or "", port, environ, tls=False, remedies=remedies(CHECK_PROXY)):
        yield step
    yield Step(TLS, "skipped", f"through the proxy of {variable}; the canary shows it")


async def _resolve(host: str, port: int, remedies: Remedies) -> Step:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return Step(RESOLVE, "failed", f"{host}: no answer within {CONNECT_SECONDS:g} s", remedy=remedies.resolve)
    except (OSError, UnicodeError) as error:
        failed = error if isinstance(error, OSError) else OSError(str(error))
        text, _, remedy = connect_failure(host, port, failed, remedies, is_unresolved=True).partition("; ")
        return Step(RESOLVE, "failed", text, remedy=remedy)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if addresses == [host]:
        return Step(RESOLVE, "ok", f"{host} is an address")
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return Step(RESOLVE, "ok", f"{host} is {addresses[0]}{more}")


async def _connect(host: str, port: int, remedies: Remedies) -> Step:
    where, started = authority(host, port, _NO_PORT), time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        text = f"{where}: none within {CONNECT_SECONDS:g} s"
        return Step(CONNECT, "failed", text, remedy=remedies.respond)
    except OSError as error:
        text, _, remedy = connect_failure(host, port, error, remedies, is_unresolved=False).partition("; ")
        return Step(CONNECT, "failed", text, remedy=remedy)
    await _close(writer)
    return Step(CONNECT, "ok", f"{where} in {(time.monotonic() - started) * 1000:.0f} ms")


async def _tls(host: str, port: int, contexts: TlsContexts) -> Step:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            try:
                writer = await _open_tls(host, port, contexts)
            except ssl.SSLCertVerificationError as error:
                if not contexts.widen(error):
                    raise
                writer = await _open_tls(host, port, contexts)
    except TimeoutError:
        return Step(TLS, "failed", f"no handshake within {CONNECT_SECONDS:g} s", remedy=_NO_TLS)
    except SinkRejected as error:
        text, _, remedy = str(error).partition("; ")
        return Step(TLS, "failed", text, remedy=remedy)
    except ssl.SSLCertVerificationError as error:
        return Step(TLS, "failed", f"the certificate is invalid: {error.verify_message}", remedy=_remedy(error))
    except (ssl.SSLError, OSError) as error:
        reason = bounded(getattr(error, "reason", "") or str(error) or type(error).__name__)
        return Step(
            TLS,
            "failed",
            f"the handshake failed: {reason}",
            remedy=_NO_TLS,
        )
    session: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = session.getpeercert() or {}
    detail = f"{session.version()}; the certificate is valid until {certificate.get('notAfter', 'an unknown date')}"
    await _close(writer)
    return Step(TLS, "ok", detail)


async def _open_tls(host: str, port: int, contexts: TlsContexts) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(host, port, ssl=contexts.current())
    return writer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def _remedy(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in NAME_MISMATCH:
        return "the server has another name: check the host of the endpoint URL"
    if error.verify_code in {_EXPIRED, _NOT_YET_VALID}:
        return "renew the certificate of the server, or check the clock of this machine"
    return "for a private authority, set AWS_CA_BUNDLE to the file of its certificate; otherwise check proxies"
