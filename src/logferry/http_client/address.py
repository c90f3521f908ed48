"""Host and port as in a URL. Pure."""

from __future__ import annotations

HTTPS_PORT = 443
HTTP_PORT = 80


def authority(host: str, port: int, default_port: int) -> str:
    """Return host and port as in a URL: brackets around an IPv6 address, no default port."""
    name = f"[{host}]" if ":" in host else host
    return name if port == default_port else f"{name}:{port}"
