"""Events that were not stored, counted by reason.

Guarantees:
- Every loss reaches the observer. The first loss of each reason in a shipper also leads to one message with a remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT, MALFORMED, OVERSIZED, PIPE_FULL, UNSTORED = "limit", "malformed", "oversized", "pipeFull", "journalFull"
"""Reasons."""
REMEDIES = {
    LIMIT: "raise LOGFERRY_EVENTS_LIMIT, or send fewer events",
    MALFORMED: "send one JSON object in each line, with event, metric or call; README, Events and metrics",
    OVERSIZED: "write lines of at most 4,096 bytes to the pipe, or post longer ones to /events",
    PIPE_FULL: "send fewer events at once",
    UNSTORED: "raise LOGFERRY_SPOOL_BYTES, or free space in the spool",
}
"""Remedy of the user for each reason."""


class EventLosses:
    """Counter of lost events."""

    def __init__(
        self, *, on_lost: Callable[[str, int, str | None], None], warn: Callable[..., None] = lambda *_, **__: None
    ) -> None:
        """`on_lost` receives reason, count and request; `warn` logs a message with details."""
        self.counts: dict[str, int] = {}
        """Number of lost events by reason."""
        self._on_lost = on_lost
        self._warn = warn

    def add(self, reason: str, count: int, request_id: str | None, detail: str = "") -> None:
        """Count lost events of one reason. `detail` describes the first of them."""
        if count <= 0:
            return
        if reason not in self.counts:
            self._warn(
                "events of the function were not stored, further losses of this kind are only counted: "
                + REMEDIES.get(reason, reason),
                reason=reason,
                count=count,
                **({"detail": detail} if detail else {}),
            )
        self.counts[reason] = self.counts.get(reason, 0) + count
        self._on_lost(reason, count, request_id)
