"""The HTTP of one connection to us, without its I/O: bytes that came go in, answers come out.

Both who answer deliveries speak it: the doorman while the libraries load, the listener ever after. The parser is
llhttp, Node's, by way of httptools.

Promises:
- 200 is said only after `accept` has returned; when the journal is full, 503, so that the platform keeps the records
  and delivers again (Telemetry API, "Delivery");
- a body is stored as it is, whatever it says or is said to be: a refused delivery would come back for ever;
- who is admitted is decided by the path (see `door`), before a byte of the body is kept;
- what is refused is answered at once, and then the connection is over: the rest of it is not even read;
- nothing that others on this machine send is held beyond the bounds below.

Why not aiohttp's server: for a delivery, two or three of which belong to each invocation, it takes 0.4 ms of CPU where
they are far apart, and this 0.15; and it could not be loaded before the first of them comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from logferry.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 16 * 1024
"""Of a request's head, and of what may stand behind its chunks (RFC 9112, 7.1.2): the parser keeps both."""
MAX_BODY_BYTES = 5 * 1024 * 1024
"""A delivery is at most 2 x maxBytes and some metadata (Telemetry API, Buffering), with our maxBytes some 2 MiB."""
MAX_UNDER_WAY_BYTES = 2 * MAX_BODY_BYTES
"""Of all bodies that are being read: the function's memory."""

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyBudget:
    """What all exchanges together may hold of bodies that are not whole yet."""

    def __init__(self, limit: int = MAX_UNDER_WAY_BYTES) -> None:
        """`limit` is only for testing."""
        self._left = limit

    def take(self, size: int) -> bool:
        """Take so many bytes; False where that is more than is left."""
        self._left -= size
        return self._left >= 0

    def give_back(self, size: int) -> None:
        """They are stored, or forgotten."""
        self._left += size


class RequestParser:
    """Requests of one connection, one after the other, and their answers."""

    def __init__(
        self,
        *,
        accept: Callable[[bytes], None],
        is_allowed: Callable[[str], bool],
        room: BodyBudget,
        once: bool = False,
    ) -> None:
        """`accept` stores a body or raises JournalFull, `admits` judges its path; with `once` the first is the last."""
        self.under_way = False
        """Whether a request has begun that is not whole."""
        self.over = False
        """Whether the connection is to be closed once the answers are out."""
        self._accept = accept
        self._admits = is_allowed
        self._room = room
        self._once = once
        self._answers: list[bytes] = []
        self._behind_others = False
        self._head_bytes = 0
        self._url = b""
        self._announced = 0
        self._awaits_continue = False
        self._parts: list[bytes] = []
        self._size = 0
        self._parser = HttpRequestParser(self)

    def feed(self, data: bytes | memoryview) -> bytes:
        """Take in what has come, nothing where the peer has ended; returns the answers that are due."""
        if self.over:
            return b""
        self._behind_others, held = False, self._size
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError:
            raise  # a fault of ours, which must not pass for one of the peer's
        except HttpParserUpgrade:
            pass  # it was refused at the end of its head, for the parser skips the body of such a request
        except HttpParserError:
            self._refuse(400)
        else:
            # What brings nothing of a body belongs to a head or a trailer, unless it has ended a request.
            self._head_bytes = 0 if self._behind_others or self._size > held else self._head_bytes + len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
        return self._due()

    def give_up(self) -> bytes:
        """Its time is over, or its connection is; returns the answer that is due to whoever is still there."""
        if self.under_way:
            self._refuse(408)
        self.over = True
        return self._due()

    def _due(self) -> bytes:
        if self.over:
            self._forget()
        answers, self._answers = b"".join(self._answers), []
        return answers

    def _refuse(self, status: int, why: str = "") -> None:
        if not self.over:
            self._answer(status, why, last=True)

    def _answer(self, status: int, why: str = "", *, last: bool) -> None:
        self.over = last or self._once
        if status == 200 and not self.over:  # noqa: PLR2004
            self._answers.append(_OK)
            return
        text = f"{why}\n".encode() if why else b""
        head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Length: {len(text)}\r\n".encode()
        self._answers.append(head + (b"Connection: close\r\n\r\n" if self.over else b"\r\n") + text)

    def _forget(self) -> None:
        self._room.give_back(self._size)
        self._parts, self._size = [], 0
        self.under_way = False

    # --- called by the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self.under_way = True
        self._announced = 0
        self._url = b""
        self._awaits_continue = False

    def on_url(self, part: bytes) -> None:
        """It may come in pieces."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note what says whether a body is welcome, and waited for."""
        match name.lower():
            case b"content-length" if value.isdigit():
                self._announced = int(value)
            case b"expect":
                self._awaits_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Judge it by its head."""
        if self._parser.get_method() != b"POST":
            self._refuse(405, "deliveries are POSTed here")
        elif not self._admits(self._url.partition(b"?")[0].decode("ascii", "replace")):
            self._refuse(403)
        elif self._announced > MAX_BODY_BYTES:
            self._refuse(413)
        elif self._parser.should_upgrade():
            self._refuse(400, "there is nothing here to upgrade to")
        elif self._awaits_continue and not self.over:
            self._answers.append(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        """Keep a piece of the body, within bounds."""
        if self.over:
            return
        self._size += len(part)
        if not self._room.take(len(part)) or self._size > MAX_BODY_BYTES:
            self._refuse(413)
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """Store it, then say so."""
        self._behind_others = True
        if self.over:
            return
        last = not self._parser.should_keep_alive()
        body = b"".join(self._parts)
        self._forget()
        try:
            if body:
                self._accept(body)
        except JournalFull as full:
            self._answer(503, str(full), last=last)
        else:
            self._answer(200, last=last)
