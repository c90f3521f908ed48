"""The faults of an S3 endpoint, and the responses that some of them consist of.

The order relative to storing decides the consequence. Before it, the object does not exist. After it,
the object exists and the client has no confirmation. The responses have the form of S3's own (S3 API
reference, "Error responses").
"""

from __future__ import annotations

import email.utils
import time
from datetime import datetime
from enum import Enum

from support.fault_connections import as_chunked, header_of

LATENCY_SECONDS = 1.5
"""Latency of a slow S3, in seconds: above the upload timeout of the scenarios."""
NEARBY_SECONDS = 0.02
"""Latency of S3 for a function in the same region, in seconds."""
DISTANT_SECONDS = 0.15
"""Latency of S3 for a function in another region, in seconds."""
DRIP_SECONDS = 0.2
"""Interval between two bytes of a dripping response, in seconds: 300 bytes take a minute."""
ENDLESS_SECONDS = 0.002
"""Interval between two chunks of an endless response, in seconds: 0.5 MB per second."""
MAX_SKEW_SECONDS = 15 * 60
"""Difference between the clocks of client and server that S3 accepts, in seconds."""
OTHER_REGION = "eu-west-1"
"""Region of the bucket under `Fault.OTHER_REGION`; clients start with another one."""


class Fault(Enum):
    """A fault that applies to each PUT."""

    NONE = "none"
    NEARBY = "latency 20 ms"
    DISTANT = "latency 150 ms"
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
    SILENT_CONNECTIONS = "existing connections drop all packets"
    SLOW_DRIP = "slow drip"
    CONTINUE = "unsolicited 100 Continue"
    CHUNKED = "chunked response"
    CHUNKED_ERROR = "chunked response with status 503"
    ENDLESS = "endless response with status 503"
    HTML = "HTML with status 200"
    HTML_ERROR = "HTML with status 502"
    EMPTY_OK = "empty response with status 200"
    OTHER_REGION = "bucket in another region"
    CLOCK_SKEW = "403 RequestTimeTooSkewed for a wrong clock"
    UNTRUSTED_CERTIFICATE = "untrusted certificate"
    WRONG_NAME = "certificate for another name"
    NO_TLS = "no TLS on a TLS endpoint"


LATENCIES = {Fault.NEARBY: NEARBY_SECONDS, Fault.DISTANT: DISTANT_SECONDS, Fault.LATENCY: LATENCY_SECONDS}
"""Time before storing, in seconds, for the faults that delay it."""
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>injected fault</Message></Error>'
_PORTAL = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Welcome to the network.</p></body></html>"


def _response(status: int, content_type: str, text: str, *headers: str) -> bytes:
    body = text.encode()
    lines = [f"HTTP/1.1 {status} Injected", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def _error(status: int, code: str, *headers: str) -> bytes:
    return _response(status, "application/xml", _XML.format(code=code), *headers)


_RESPONSES = {
    Fault.INTERNAL_ERROR: _error(500, "InternalError"),
    Fault.SLOW_DOWN: _error(503, "SlowDown"),
    Fault.ACCESS_DENIED: _error(403, "AccessDenied"),
    Fault.NO_SUCH_BUCKET: _error(404, "NoSuchBucket"),
    Fault.EXPIRED_TOKEN: _error(400, "ExpiredToken"),
    Fault.CHUNKED_ERROR: as_chunked(_error(503, "SlowDown")),
    Fault.HTML: _response(200, "text/html", _PORTAL),
    Fault.HTML_ERROR: _response(502, "text/html", _PORTAL),
    Fault.EMPTY_OK: _response(200, "text/plain", ""),
}
"""The complete response of each fault that consists of one."""


def response_without_storing(fault: Fault, request: bytes) -> bytes | None:
    """Return the response of a fault that does not store the object, or None if the request is forwarded."""
    # 1. The same response to every request.
    if fault in _RESPONSES:
        return _RESPONSES[fault]
    # 2. A redirect of requests that are signed for another region than that of the bucket.
    if fault is Fault.OTHER_REGION and f"/{OTHER_REGION}/s3/".encode() not in header_of(request, b"authorization"):
        return _error(301, "PermanentRedirect", f"x-amz-bucket-region: {OTHER_REGION}")
    # 3. A refusal of requests with a wrong date.
    if fault is Fault.CLOCK_SKEW and abs(_seconds_of(request) - time.time()) > MAX_SKEW_SECONDS:
        return _error(403, "RequestTimeTooSkewed", f"Date: {email.utils.formatdate(usegmt=True)}")
    return None


def _seconds_of(request: bytes) -> float:
    """Return the time at which a request was signed, as seconds since the epoch."""
    date = header_of(request, b"x-amz-date").decode().replace("Z", "+0000")
    return datetime.strptime(date, "%Y%m%dT%H%M%S%z").timestamp()
