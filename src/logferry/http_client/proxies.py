"""Selection of the proxy variable that applies to a host.

Guarantees:
- `proxy_variable` is pure and gives the same answer as `urllib.request`, which botocore uses.

Design: `urllib.request` has the same function, but its import costs 20 ms of CPU time.
Lower-case variables take precedence, and an empty lower-case variable removes the proxy.
`all_proxy` has no meaning for botocore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.http_client.address import host_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_variable(scheme: str, host: str, port: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable whose proxy a request to the host must use, or None."""
    found = _variable(scheme, environ)
    if not found or _is_bypassed(host, port, environ):
        return None
    return found


def proxy_of_url(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable whose proxy a request to a plain URL must use, or None."""
    scheme, _, rest = url.partition("://")
    port = rest.partition("/")[0].partition(":")[2]
    return proxy_variable(scheme, host_of(url), port or None, environ)


def _variable(prefix: str, environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable `<prefix>_proxy`; HTTP_PROXY is ignored in a CGI program."""
    found = None
    for name, value in environ.items():
        if value and name.lower() == f"{prefix}_proxy" and not (prefix == "http" and "REQUEST_METHOD" in environ):
            found = name
    for name, value in environ.items():
        if name.endswith("_proxy") and name.lower() == f"{prefix}_proxy":
            found = name if value else None
    return found


def _is_bypassed(host: str, port: str | None, environ: Mapping[str, str]) -> bool:
    """Return whether `no_proxy` names the host, one of its parent domains, or `*`."""
    variable = _variable("no", environ)
    entries = environ[variable] if variable else ""
    if entries == "*":
        return True
    hosts = [host.lower(), f"{host.lower()}:{port}"]
    for entry in entries.split(","):
        domain = entry.strip().lstrip(".").lower()
        if domain and any(name == domain or name.endswith(f".{domain}") for name in hosts):
            return True
    return False
