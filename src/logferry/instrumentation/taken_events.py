"""Events that were taken from lines: the result of one read of the pipe or of one request.

Guarantees:
- Every line is an event, a malformed line, or a line over the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logferry.instrumentation.event_line import EventLine


class Taken:
    """Result of some lines: the events, and the lines that are none."""

    __slots__ = ("by_order", "events", "malformed", "malformed_line", "malformed_number", "over_limit", "reason")

    def __init__(self, by_order: str | None) -> None:
        self.by_order = by_order
        """Request of a line that states none."""
        self.events: list[tuple[tuple[tuple[str, str] | None, bool], EventLine]] = []
        """Events with their request, its source, and whether it is provisional."""
        self.over_limit = 0
        """Number of lines over the limit."""
        self.malformed = 0
        """Number of malformed lines."""
        self.malformed_number = 0
        """Number of the first of them, counted from 1."""
        self.malformed_line = b""
        """The first of them."""
        self.reason = ""
        """The mistake in it."""

    def add_malformed(self, number: int, line: bytes, reason: str) -> None:
        """Count a malformed line, and keep the first one."""
        if not self.malformed:
            self.malformed_number, self.malformed_line, self.reason = number, line, reason
        self.malformed += 1


class Provisional(NamedTuple):
    """A stored event whose request is provisional."""

    event: EventLine
    request: tuple[str, str] | None
    received_ms: int
    """Time of its receipt (epoch ms)."""
    is_init: bool
    """Whether no invocation had begun."""
