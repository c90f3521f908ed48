"""The endpoint `POST /events`: events of any language as NDJSON, acknowledged after they are stored.

| status | meaning |
|---|---|
| 200 | every line is in the journal |
| 400 | the line with the given number is malformed; all valid lines are in the journal |
| 413 | the body is larger than 1 MiB; nothing was stored |
| 429 | lines over LOGFERRY_EVENTS_LIMIT were not stored; the lines before them are in the journal |
| 503 | the journal is full, or the environment shuts down; nothing was stored |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import JournalFull
from logferry.listener.http_protocol import MAX_EVENTS_BYTES, BodyBudget

if TYPE_CHECKING:
    from logferry.instrumentation.event_intake import EventIntake


class EventEndpoint:
    """The endpoint, as the HTTP server sees it."""

    def __init__(self, intake: EventIntake) -> None:
        self._intake = intake
        self.budget = BodyBudget(2 * MAX_EVENTS_BYTES)
        """Limit of all incomplete bodies of this endpoint. Slow clients cannot use up the budget of the platform."""

    def accept(self, body: bytes) -> tuple[int, str]:
        """Store the events of a body; return the status and the reason of any other status than 200."""
        try:
            taken = self._intake.accept(body.split(b"\n"))
        except JournalFull as full:
            return 503, str(full)
        # Three cases: 1. a malformed line, 2. lines over the limit, 3. every line is stored.
        if taken.malformed:
            more = f" (and {taken.malformed - 1} more)" if taken.malformed > 1 else ""
            return 400, f"line {taken.malformed_number}: {taken.reason}{more}; valid lines are stored"
        if taken.over_limit:
            return 429, f"{taken.over_limit} lines over LOGFERRY_EVENTS_LIMIT were not stored"
        return 200, ""
