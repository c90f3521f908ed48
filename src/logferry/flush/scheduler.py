"""State since the last seal (age, size, invocations), from which the policy derives a due flush.

Guarantees:
- A flush that was announced in an INVOKE and could not be made is due again with the next INVOKE.
- Records that were delivered after a thaw are as old as the invocation that wrote them.

Design: the scheduler works before the event loop exists. `clock` returns seconds and never runs
backwards.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from logferry.flush.policy import Due, Pace, Policy, Timing, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.records.invocations import Invocations


class InvokeDecision(NamedTuple):
    """Decision for an INVOKE event: the flush that is due, if any, and the previous request."""

    due: Due | None
    previous_request_id: str | None


class Scheduler:
    """Observer of the open segment of the journal."""

    def __init__(
        self,
        *,
        journal: Journal,
        policy: Policy,
        invocations: Invocations,
        managed: bool,
        renew: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without invocations. `managed`: Managed Instances, where invocations are counted by their reports.

        `renew` is called before the first invocation: names that were made before a SnapStart
        snapshot must not be used after it. `clock` is replaced only in tests; the event loop's
        clock is `time.monotonic` as well.
        """
        self._journal = journal
        self._policy = policy
        self._invocations = invocations
        self._managed = managed
        self._renew = renew
        self._clock = clock
        self._pace = Pace()
        self._last_invoke: float | None = None
        self._latest_request_id: str | None = None
        self._invocations_since_seal = 0
        self._reports_at_seal = 0
        self._oldest: float | None = clock() if journal.waiting_bytes else None
        self._pending_flush_since: float | None = None
        self._pending_flush_bytes = 0
        self.collect: Callable[[], None] = lambda: None
        """Append records that wait outside the journal. It is called before each seal."""
        self.observe_invoke: Callable[[str, bool], None] | None = None
        """Receives the request of each INVOKE event, and whether an earlier shipper process had received it."""

    @property
    def has_records(self) -> bool:
        """Whether the open segment holds records."""
        return self._journal.waiting_bytes > 0

    @property
    def latest_request_id(self) -> str | None:
        """Request of the latest INVOKE event of this process; None before the first."""
        return self._latest_request_id

    def on_batch(self) -> None:
        """Start the age of the open segment with its first batch."""
        if self._oldest is None:
            self._oldest = self._clock()

    def on_invoke(self, request_id: str, *, again: bool = False) -> InvokeDecision:
        """Return the decision for an INVOKE event. `again`: an earlier shipper process had received it."""
        if self._last_invoke is None:
            self._renew()
        if self.observe_invoke:
            self.observe_invoke(request_id, again)
        now = self._clock()
        self._pace = self._pace.after_gap(None if self._last_invoke is None else now - self._last_invoke)
        previous, self._latest_request_id = self._latest_request_id, request_id
        late_records_expected = previous is not None and not self._invocations.ended(previous)
        if late_records_expected and self._oldest is None:
            # The environment was frozen before the platform had delivered the previous invocation. Its records arrive
            # now and are as old as if they had arrived in time.
            self._oldest = self._last_invoke
        self._last_invoke = now
        self._invocations.began(request_id)
        self._journal.announce(request_id)
        self._clear_pending_flush()  # a flush that failed because of the sink is due again
        waiting = self._waiting(late_records_expected=late_records_expected)
        due = self._policy.on_invoke(waiting, self._pace)
        self._invocations_since_seal += 1
        if due and due.timing is Timing.POST_EXECUTION:
            self._pending_flush_since, self._pending_flush_bytes = now, waiting.size
        return InvokeDecision(due, previous)

    def due_now(self) -> Due | None:
        """Return the flush that age or size (on Managed Instances also reports) make due while the environment runs."""
        if self._invocations.in_the_middle:
            return None
        waiting = self._waiting()
        return self._policy.while_running(waiting) or (self._policy.on_end(waiting) if self._managed else None)

    def seconds_until_old(self) -> float | None:
        """Return the seconds until age alone makes a flush due, or None if it never does."""
        return self._policy.seconds_until_old(self._waiting())

    def seal(self, *, running: int) -> Segment | None:
        """Seal the open segment; `running` invocations have begun, are not over and belong to the next segment too."""
        self.collect()
        self._invocations_since_seal = running
        self._reports_at_seal = self._invocations.reports
        self._oldest = None
        self._clear_pending_flush()
        return self._journal.seal()

    def seal_last(self) -> Segment | None:
        """Seal the last segment of the execution environment."""
        self.collect()
        return self._journal.seal(last=True)

    def _clear_pending_flush(self) -> None:
        self._pending_flush_since, self._pending_flush_bytes = None, 0

    def _waiting(self, *, late_records_expected: bool = False) -> Waiting:
        """Return what the policy has to know about the open segment.

        While a flush after this invocation is pending, age and size count from its announcement.
        Otherwise records that were old or large at INVOKE would be uploaded during the invocation,
        in an object without its records, and the invocation would be extended for another object.
        """
        now = self._clock()
        since = now if self._oldest is None else max(self._oldest, self._pending_flush_since or self._oldest)
        ended = self._invocations.reports - self._reports_at_seal if self._managed else self._invocations_since_seal
        size = max(self._journal.waiting_bytes - self._pending_flush_bytes, int(late_records_expected))
        return Waiting(size=size, age=now - since, invocations=ended)
