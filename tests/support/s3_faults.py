"""The faults of an S3 endpoint, and the responses that some of them consist of.

The order relative to storing decides the consequence. Before it, the object does not exist. After
it, the object exists and the client has no confirmation. The responses have the form of S3's own
(S3 API reference, "Error responses").
"""

from __future__ import annotations

from enum import Enum

LATENCY_SECONDS = 1.5
"""Latency of a slow S3, in seconds: above the upload timeout of the scenarios."""
NEARBY_SECONDS = 0.02
"""Latency of S3 for a function in the same region, in seconds."""


DRIP_SECONDS = 0.2
"""Interval between two bytes of a dripping response, in seconds: 300 bytes take a minute."""


class Fault(Enum):
    """A fault that applies to each PUT."""

    NONE = "none"
    NEARBY = "latency 20 ms"
    LATENCY = "latency 1.5 s"
    HANG = "hang"
    INTERNAL_ERROR = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    ACCESS_DENIED = "403 AccessDenied"
    NO_SUCH_BUCKET = "404 NoSuchBucket"
    EXPIRED_TOKEN = "400 ExpiredToken"  # noqa: S105 - an error code
    REFUSED = "connection refused"
    RESET_BEFORE_STORING = "reset before storing"
    RESET_AFTER_STORING = "reset after storing"
    SLOW_DRIP = "slow drip"
    HTML = "HTML with status 200"
    HTML_ERROR = "HTML with status 502"
    EMPTY_OK = "empty response with status 200"
    UNTRUSTED_CERTIFICATE = "untrusted certificate"
    NO_TLS = "no TLS on a TLS endpoint"


_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>injected fault</Message></Error>'


_PORTAL = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Welcome to the network.</p></body></html>"


def _response(status: int, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status} Injected\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


RESPONSES = {
    Fault.INTERNAL_ERROR: _response(500, "application/xml", _XML.format(code="InternalError")),
    Fault.SLOW_DOWN: _response(503, "application/xml", _XML.format(code="SlowDown")),
    Fault.ACCESS_DENIED: _response(403, "application/xml", _XML.format(code="AccessDenied")),
    Fault.NO_SUCH_BUCKET: _response(404, "application/xml", _XML.format(code="NoSuchBucket")),
    Fault.EXPIRED_TOKEN: _response(400, "application/xml", _XML.format(code="ExpiredToken")),
    Fault.HTML: _response(200, "text/html", _PORTAL),
    Fault.HTML_ERROR: _response(502, "text/html", _PORTAL),
    Fault.EMPTY_OK: _response(200, "text/plain", ""),
}
"""The complete response of each fault that consists of one."""
