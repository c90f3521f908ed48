"""The ways an S3 endpoint can misbehave, and the answers that some of them are.

Where they stand relative to storing is what matters: before it, the object is not there; after it, it is there and the
client does not know. Answers imitate S3's own (S3 API reference, "Error responses").
"""

from __future__ import annotations

from enum import Enum

LATENCY_SECONDS = 1.5


NEARBY_SECONDS = 0.02
"""S3 seen from a function in its region."""


DRIP_SECONDS = 0.2
"""Between two bytes of a dripping answer: one of 300 bytes takes a minute."""


class Fault(Enum):
    """What happens to a PUT."""

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
    EMPTY_OK = "empty answer with status 200"
    UNTRUSTED_CERTIFICATE = "certificate nobody trusts"
    NO_TLS = "no TLS where TLS is spoken"


_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>as told</Message></Error>'


_PORTAL = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Welcome to the network.</p></body></html>"


def _response(status: int, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status} As Told\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ANSWERS = {
    Fault.INTERNAL_ERROR: _response(500, "application/xml", _XML.format(code="InternalError")),
    Fault.SLOW_DOWN: _response(503, "application/xml", _XML.format(code="SlowDown")),
    Fault.ACCESS_DENIED: _response(403, "application/xml", _XML.format(code="AccessDenied")),
    Fault.NO_SUCH_BUCKET: _response(404, "application/xml", _XML.format(code="NoSuchBucket")),
    Fault.EXPIRED_TOKEN: _response(400, "application/xml", _XML.format(code="ExpiredToken")),
    Fault.HTML: _response(200, "text/html", _PORTAL),
    Fault.HTML_ERROR: _response(502, "text/html", _PORTAL),
    Fault.EMPTY_OK: _response(200, "text/plain", ""),
}
"""The whole answer, where the fault is one."""
