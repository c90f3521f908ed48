"""HTTP/1.1 response parser without I/O.

Guarantees:
- Interim responses (1xx) are skipped, whether the request asked for them or not.
- Chunked bodies, bodies of a known length and bodies up to the end of the connection are read.
- Trailers are discarded: only the head confirms an object.
- A response to HEAD is complete after its head, whatever length it states.
- The received bytes of one response are limited. A longer body is cut, and the connection is not
  used again.

Design: llhttp (through httptools) parses; the listener uses it too, so it is imported already.

References: RFC 9110, section 15.2 (1xx); RFC 9112, section 6.3 (message body length).
"""

from __future__ import annotations

import httptools

MAX_RESPONSE_BYTES = 64 * 1024
"""Default limit of head and body of one response. S3's error documents have at most a few kilobytes."""

_FIRST_FINAL_STATUS = 200


class HttpError(Exception):
    """A response that is not HTTP, or a connection that ended before the response was complete."""


class Response:
    """A complete response; the names of its headers are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class ResponseReader:
    """The state of the response that one connection is receiving."""

    def __init__(self, max_bytes: int = MAX_RESPONSE_BYTES, *, has_body: bool = True) -> None:
        """`has_body` is False for a response to HEAD."""
        self._max_bytes = max_bytes
        self._has_body = has_body
        self.received = 0
        """Bytes of this response so far, interim responses included."""
        self.response: Response | None = None
        """The response, once it is complete."""
        self.reusable = False
        """Whether the connection may be used for another request after this response."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_complete = False
        self._until_eof = False

    def feed(self, data: bytes) -> None:
        """Read received bytes. Raises HttpError for bytes that are not HTTP."""
        if self.response is not None:
            self.reusable = False  # bytes after the end of a response belong to no request
            return
        room = self._max_bytes - self.received
        self.received += len(data)
        try:
            self._parser.feed_data(data[:room])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if self.response is None:
                raise HttpError(f"the response is not HTTP: {error}") from error
        if len(data) > room:
            self.reusable = False
            self._cut()

    def feed_eof(self) -> None:
        """Read the end of the connection. Raises HttpError if the response is not complete."""
        self.reusable = False
        if self.response is None:
            if not (self._head_complete and self._until_eof):
                cause = "in the middle of the response" if self.received else "without a response"
                raise HttpError(f"the connection was closed {cause}")
            self._complete()

    def _cut(self) -> None:
        if self.response is None:
            if not self._head_complete:
                raise HttpError(f"the response head exceeds {self._max_bytes} bytes")
            self._complete()

    def _complete(self) -> None:
        self.response = Response(self._parser.get_status_code(), self._headers, b"".join(self._body))

    # --- callbacks of httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header of the head; a trailer is discarded."""
        if not self._head_complete:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Discard the head of an interim response; note how the body of a final one ends."""
        if self._parser.get_status_code() < _FIRST_FINAL_STATUS:
            self._headers = {}
            return
        self._head_complete = True
        if not self._has_body:
            self.reusable = self._parser.should_keep_alive()
            self._complete()
            return
        self._until_eof = not {"content-length", "transfer-encoding"} & self._headers.keys()

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(data)

    def on_message_begin(self) -> None:
        """Note that bytes follow a complete response."""
        if self.response is not None:
            self.reusable = False

    def on_message_complete(self) -> None:
        """Complete the response, unless it is an interim one."""
        if self._head_complete and self.response is None:
            self.reusable = self._parser.should_keep_alive()
            self._complete()
