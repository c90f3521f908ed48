"""HTTP/1.1 server side of one connection, without I/O.

The caller feeds received bytes and sends the returned bytes. Used by the bootstrap server and by
the listener.

Guarantees:
- 200 is returned only after `accept` has returned. If the journal is full, 503 is returned, so that
  the platform keeps the batch and delivers it again (Telemetry API, "Delivery").
- Any body is accepted unchanged, whatever its content and its headers are. A rejected batch would
  be delivered again indefinitely.
- The request path is checked (see `path_token`) before any byte of the body is stored.
- A request to `/events` never reaches `accept`: its path is recognized before the path token is checked. Without an
  endpoint for events it is answered with 404.
- Request head, trailer, body and the sum of all incomplete bodies are limited. A request over a
  limit is answered at once and the connection is closed; the rest of the request is not read. The
  rest of a request to `/events` is read and discarded up to a limit (`must_linger`).

Design: aiohttp's server needs 0.4 ms of CPU time per batch if batches are far apart, this parser
(llhttp through httptools) 0.15 ms. Each invocation has two or three batches. Furthermore, the
parser is available before the event loop has been imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class EventsEndpoint(Protocol):
        """Endpoint of the function's own events (see `instrumentation.event_endpoint`)."""

        budget: BodyBudget

        def accept(self, body: bytes) -> tuple[int, str]:
            """Return the status and the reason after the events are stored."""


MAX_HEAD_BYTES = 16 * 1024
"""Maximum size of a request head, and of a trailer (RFC 9112, 7.1.2), in bytes. The parser keeps both."""
MAX_BODY_BYTES = 5 * 1024 * 1024
"""Maximum size of a body, in bytes. A batch has at most 2 x maxBytes and some metadata (Telemetry
API, "Buffering"), which is about 2 MiB with the requested maxBytes."""
MAX_EVENTS_BYTES = 1024 * 1024
"""Maximum size of a body of the function's own events, in bytes."""
EVENTS_PATH = b"/events"
"""Path of the function's own events."""
MAX_LINGER_BYTES = 4 * MAX_EVENTS_BYTES
"""Maximum size of the rest of a refused request to `/events` that is read and discarded, in bytes."""
MAX_INCOMPLETE_BYTES = 2 * MAX_BODY_BYTES
"""Maximum size of all incomplete bodies together, in bytes. They occupy the function's memory."""

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyBudget:
    """Total size limit for the incomplete request bodies of all connections."""

    __slots__ = ("_left",)

    def __init__(self, limit: int = MAX_INCOMPLETE_BYTES) -> None:
        """`limit` is in bytes; it is given only in tests."""
        self._left = limit

    def take(self, size: int) -> bool:
        """Take bytes from the budget; return False, and take nothing, if fewer are left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return bytes of a body that is stored or discarded to the budget."""
        self._left += size


class RequestParser:
    """Parser of the consecutive requests of one connection, and source of their responses."""

    def __init__(
        self,
        *,
        accept: Callable[[bytes], None],
        is_allowed: Callable[[str], bool],
        budget: BodyBudget,
        close_after_first: bool = False,
        events: EventsEndpoint | None = None,
    ) -> None:
        """`accept` stores a batch or raises JournalFull; `is_allowed` judges the path of a request.

        `events` receives the requests to `/events`.
        """
        self.in_request = False
        """Whether a request has begun and is not complete."""
        self.must_close = False
        """Whether the connection must be closed after the returned responses are sent."""
        self._accept = accept
        self._is_allowed = is_allowed
        self._platform_budget = self._budget = budget
        self._events = events
        self._is_events = False
        self._max_body_bytes = MAX_BODY_BYTES
        self._close_after_first = close_after_first
        self._responses: list[bytes] = []
        self._request_ended = False
        self._head_bytes = 0
        self._url = b""
        self._content_length = 0
        self._expects_continue = False
        self._parts: list[bytes] = []
        self._size = 0
        self._parser = HttpRequestParser(self)

    def feed(self, data: bytes | memoryview) -> bytes:
        """Parse received bytes (none if the client has closed its side); return the responses to send."""
        if self.must_close:
            return b""
        self._request_ended, size_before = False, self._size
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError:
            raise  # a defect of logferry, which must not be reported as a defect of the client
        except HttpParserUpgrade:
            pass  # refused at the end of its head, because the parser skips the body of such a request
        except HttpParserError:
            self._refuse(400)
        else:
            # Data without a part of a body belong to a head or a trailer, unless they complete a request.
            in_body = self._request_ended or self._size > size_before
            self._head_bytes = 0 if in_body else self._head_bytes + len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
        return self._take_responses()

    def abandon(self) -> bytes:
        """End the connection because of its time limit or its loss; return 408 if a request is incomplete."""
        if self.in_request:
            self._refuse(408)
        self.must_close = True
        return self._take_responses()

    def _take_responses(self) -> bytes:
        if self.must_close:
            self._discard_body()
        responses, self._responses = b"".join(self._responses), []
        return responses

    def _refuse(self, status: int, reason: str = "") -> None:
        if not self.must_close:
            self._respond(status, reason, last=True)

    def _respond(self, status: int, reason: str = "", *, last: bool) -> None:
        self.must_close = last or self._close_after_first
        if status == 200 and not self.must_close:  # noqa: PLR2004
            self._responses.append(_OK)
            return
        text = f"{reason}\n".encode() if reason else b""
        head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Length: {len(text)}\r\n".encode()
        self._responses.append(head + (b"Connection: close\r\n\r\n" if self.must_close else b"\r\n") + text)

    def _discard_body(self) -> None:
        self._budget.give_back(self._size)
        self._parts, self._size = [], 0
        self.in_request = False

    @property
    def must_linger(self) -> bool:
        """Whether the client may still send the rest of a refused request to `/events`.

        The kernel resets a connection that is closed with unread data. Many clients send the complete request before
        they read, and would get an error instead of the response (RFC 9112, 9.6).
        """
        return self.must_close and self._is_events and not self._request_ended

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.in_request = True
        self._content_length = 0
        self._url = b""
        self._expects_continue = False

    def on_url(self, part: bytes) -> None:
        """Append a part of the URL."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the announced size of the body, and whether the client waits before it sends the body."""
        match name.lower():
            case b"content-length" if value.isdigit():
                self._content_length = int(value)
            case b"expect":
                self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Refuse a request because of its head, or ask for its body."""
        path = self._url.partition(b"?")[0]
        self._select_endpoint(is_events=path == EVENTS_PATH)
        # 1. Method, 2. no endpoint, 3. path, 4. announced size, 5. protocol, 6. the client waits for 100 Continue.
        if self._parser.get_method() != b"POST":
            self._refuse(405, "only POST requests are accepted")
        elif self._is_events and not self._events:
            self._refuse(404, "events are not accepted, set LOGFERRY_EVENTS=true")
        elif not self._is_events and not self._is_allowed(path.decode("ascii", "replace")):
            self._refuse(403)
        elif self._content_length > self._max_body_bytes:
            self._refuse(413)
        elif self._parser.should_upgrade():
            self._refuse(400, "no other protocol is supported")
        elif self._expects_continue and not self.must_close:
            self._responses.append(_CONTINUE)

    def _select_endpoint(self, *, is_events: bool) -> None:
        """Use the limits of the endpoint that the path names. No byte of the body has been received."""
        self._is_events = is_events
        self._max_body_bytes = MAX_EVENTS_BYTES if is_events else MAX_BODY_BYTES
        self._budget = self._events.budget if is_events and self._events else self._platform_budget

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body if the limits allow it."""
        if self.must_close:
            return
        if self._size + len(part) > self._max_body_bytes:
            self._refuse(413)
        elif not self._budget.take(len(part)):
            # The platform delivers the batch again, and then the bodies of other clients may have ended.
            self._refuse(503, "too many incomplete requests")
        else:
            self._size += len(part)
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """Store the batch or the events, then respond."""
        self._request_ended = True
        if self.must_close:
            return
        last = not self._parser.should_keep_alive()
        body = b"".join(self._parts)
        self._discard_body()
        if self._is_events and self._events:
            status, reason = self._events.accept(body)
            self._respond(status, reason, last=last)
            return
        try:
            if body:
                self._accept(body)
        except JournalFull as full:
            self._respond(503, str(full), last=last)
        else:
            self._respond(200, last=last)
