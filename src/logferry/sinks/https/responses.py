"""Classification of a receiver's responses. Pure.

Guarantees:
- Every 2xx confirms an object, except a page of HTML, which a proxy or a login page sends.
- Records that an OTLP receiver rejects within a 200 are counted, also in a body that was cut at
  the limit of a response. A repetition would not help.
- Responses that later requests may not get (throttling, 5xx) are SinkUnavailable; all others are
  SinkRejected.
- A message has the status, the receiver's sentence without the secrets of the request, and the
  remedy.

Design: the OTLP specification lists 429, 502, 503 and 504 as retryable, and lets a client drop the
data of any other error. logferry keeps the segment after every error, so a 500 is only a question
of the interval. It is transient for most servers.

References: RFC 9110, section 15 (status codes); OTLP specification, "OTLP/HTTP Response" and
"Partial Success".
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.errors import RecordsRejected, SinkRejected, SinkUnavailable
from logferry.http_client.failures import Remedies, bounded
from logferry.sinks.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import Collection

    from logferry.errors import LogferryError, SinkError
    from logferry.http_client.response import Response

_TRANSIENT = frozenset({408, 425, 429})
_UNSUPPORTED = frozenset({501, 505})
_SUCCESS, _REDIRECTION, _SERVER_ERROR = range(200, 300), range(300, 400), 500
_SENTENCES = ("message", "errorMessage", "error", "detail", "reason", "title")
"""Members of a JSON error document that explain the error: `google.rpc.Status`, RFC 9457, and common ones."""
_CREDENTIALS = "check LOGFERRY_HTTPS_TOKEN and LOGFERRY_HTTPS_HEADERS"
_BODY = "the receiver does not accept the body: check LOGFERRY_FORMAT and LOGFERRY_COMPRESSION"
_TOO_LARGE = "the body is too large: lower LOGFERRY_OBJECT_BYTES, or raise the limit of the receiver"
_PATH = "check host and path of LOGFERRY_DESTINATION"
_REMEDIES = {
    400: _BODY,
    401: f"the receiver does not accept the credentials: {_CREDENTIALS}",
    403: f"the credentials have no permission to write: {_CREDENTIALS}",
    404: _PATH,
    405: f"the receiver does not accept POST here: {_PATH}",
    407: "a proxy requires authentication: check HTTPS_PROXY and NO_PROXY",
    410: _PATH,
    413: _TOO_LARGE,
    415: _BODY,
    422: _BODY,
    431: "the headers are too large: shorten LOGFERRY_HTTPS_HEADERS",
}
_PATH_STATUS = frozenset({404, 405})
_OBJECT_STATUS = frozenset({400, 413, 422})
"""Status of a rejection that other objects may not get, because it judges the body."""
_COUNT = rb'"rejectedLogRecords"\s*:\s*"?(\d{1,18})(?!\d)'
_NOT_A_RECEIVER = "not a response of a log receiver: check LOGFERRY_DESTINATION and proxies"
CONNECTION_REMEDIES = Remedies(
    resolve="check the host of LOGFERRY_DESTINATION and the DNS of the VPC",
    reach="check host and port of LOGFERRY_DESTINATION and the route of the VPC",
    respond="a function in a VPC needs a route to the receiver, such as a NAT gateway",
)


class Request(NamedTuple):
    """The facts about a request that its response is judged by."""

    where: str
    """The receiver, as a message names it."""
    is_otlp: bool
    size: int
    """Size of the body in bytes."""
    secrets: Collection[str]
    """Texts that no message may contain."""


def error_of(response: Response, request: Request, *, now: float) -> LogferryError | None:
    """Return the error that a response means, or None if the object is stored. `now` is the time since the epoch."""
    if response.status in _SUCCESS:
        if _is_page(response):
            return SinkUnavailable(f"{request.where}: {response.status} with a page of HTML; {_NOT_A_RECEIVER}")
        return _partial_success(response, request) if request.is_otlp else None
    error = _classified(response, request)
    error.retry_after = retry_after(response.headers, now=now)
    return error


def warning_of(response: Response, request: Request) -> str:
    """Return what an OTLP receiver recommends although it has accepted all records, or an empty string."""
    partial = _partial(response) if request.is_otlp else {}
    return _safe(str(partial.get("errorMessage") or ""), request.secrets)


def _classified(response: Response, request: Request) -> SinkError:
    status = response.status
    sentence = _safe(_sentence(response), request.secrets)
    event = f"{request.where}: {_status_line(status)}" + (f": {sentence}" if sentence else "")
    if status in _TRANSIENT or (status >= _SERVER_ERROR and status not in _UNSUPPORTED):
        return SinkUnavailable(event)
    if status in _REDIRECTION:
        return SinkRejected(f"{event}{_redirection(response)}")
    remedy = _REMEDIES.get(status, "see the documentation of the receiver")
    # The OTLP receiver of the collector responds 400 to a body that is too large.
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (status == HTTPStatus.BAD_REQUEST and "too large" in sentence):
        remedy = f"{_TOO_LARGE} ({request.size} bytes were sent)"
    if status in _PATH_STATUS and request.is_otlp:
        remedy = f"{remedy}, whose path for OTLP is usually /v1/logs"
    rejected = SinkRejected(f"{event}; {remedy}")
    rejected.is_of_object = status in _OBJECT_STATUS
    return rejected


def _partial_success(response: Response, request: Request) -> RecordsRejected | None:
    if _document(response) is None:
        # The body was cut at its limit, within a long message about the records.
        found = re.search(_COUNT, response.body)
        rejected = found[1].decode() if found else "0"
    else:
        rejected = str(_partial(response).get("rejectedLogRecords", 0))
    # A number of 64 bits is a text in the JSON mapping of Protobuf, and readers accept both.
    count = int(rejected) if re.fullmatch(r"\d{1,18}", rejected, re.ASCII) else 0
    if not count:
        return None
    reason = warning_of(response, request) or "no reason is given"
    return RecordsRejected(f"{request.where}: {count} log records rejected: {reason}", records=count)


def _partial(response: Response) -> dict[str, Any]:
    """Return the member `partialSuccess` of an OTLP response, empty if there is none."""
    document = _document(response)
    partial = document.get("partialSuccess") if isinstance(document, dict) else None
    return partial if isinstance(partial, dict) else {}


def _document(response: Response) -> object:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _is_page(response: Response) -> bool:
    start = response.body.lstrip()[:100].lower()
    is_html = "html" in response.headers.get("content-type", "").lower()
    return start.startswith((b"<!doctype html", b"<html")) or (is_html and start.startswith(b"<"))


def _sentence(response: Response) -> str:
    """Return the receiver's explanation of an error, or an empty string."""
    if _is_page(response):
        return "a page of HTML"
    document = _document(response)
    if isinstance(document, dict):
        found: object = next((document[name] for name in _SENTENCES if document.get(name)), "")
        if isinstance(found, dict):
            found = next((found[name] for name in _SENTENCES if found.get(name)), "")
        return found if isinstance(found, str) else ""
    is_text = response.headers.get("content-type", "").lower().startswith("text/plain")
    return response.body.decode(errors="replace") if is_text else ""


def _redirection(response: Response) -> str:
    """Return the remedy for a redirect. The path of its target is not named, because it can be a secret."""
    target = re.match(r"https?://(?:[^/?#@]*@)?([A-Za-z0-9.:\[\]-]+)", response.headers.get("location", ""))
    place = f" to {target[1]}" if target else ""
    return f"{place}; redirects are not followed: set LOGFERRY_DESTINATION to the final URL"


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _safe(sentence: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        sentence = sentence.replace(secret, "…")
    return bounded(sentence)
