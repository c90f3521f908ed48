"""What waits, and whether it is due: the journal's open segment seen together with invocations and time.

It is fed from the first delivery on, before any library is loaded, so it knows neither a loop nor a network; `clock`
gives seconds that never run backwards.

Promises:
- `accept` returns only after the body is in the journal, and notices afterwards what the body tells;
- a body that the platform delivers again, because our answer was lost, is stored once;
- once closed nothing is accepted: what comes then could not be shipped, and must not be answered 200.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from logferry.errors import JournalFull
from logferry.flush.policy import Due, Moment, Pace, Policy, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment
    from logferry.listener.dedup import Repeats
    from logferry.records.invocations import Invocations


class Begun(NamedTuple):
    """An invocation that has begun: what is due with it, and which one went before."""

    due: Due | None
    previous: str | None


class Accumulator:
    """The open segment and what is known about it."""

    def __init__(
        self,
        *,
        journal: Journal,
        policy: Policy,
        invocations: Invocations,
        repeats: Repeats,
        managed: bool,
        renew: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`managed`: Managed Instances, where invocations are counted by their reports, for no event announces one.

        `renew` is called before the first invocation: what was made before a SnapStart snapshot must not be used after.

        `clock` is only for testing: the loop's clock is `time.monotonic` too.
        """
        self.invocations = invocations
        self.told: Callable[[], None] = lambda: None
        """Called after each body that was accepted."""
        self._repeats = repeats
        self._journal = journal
        self._policy = policy
        self._managed = managed
        self._renew = renew
        self._clock = clock
        self._pace = Pace()
        self._last_invoke: float | None = None
        self._latest: str | None = None
        self._since_seal = 0
        self._reports_at_seal = 0
        self._oldest: float | None = clock() if journal.waiting_bytes else None
        self._promised_since: float | None = None
        self._promised_bytes = 0
        self._closed = False

    def accept(self, body: bytes) -> None:
        """Store a delivery; it is accepted when this returns. Raises JournalFull."""
        if self._closed:
            raise JournalFull("the environment is being shut down")
        if self._repeats.seen(body):
            return
        self._journal.append(body)
        self._repeats.note(body)
        if self._oldest is None:
            self._oldest = self._clock()
        self.invocations.see(body)
        self._journal.running = None if self._managed else self.invocations.running
        self.told()

    def begin(self, request_id: str) -> Begun:
        """An INVOKE event has come: judge what is due with it."""
        if self._last_invoke is None:
            self._renew()
        now = self._clock()
        self._pace = self._pace.after_gap(None if self._last_invoke is None else now - self._last_invoke)
        previous, self._latest = self._latest, request_id
        on_the_way = previous is not None and not self.invocations.ended(previous)
        if on_the_way and self._oldest is None:
            # The environment was frozen before the platform had delivered the invocation before: its records come now,
            # and they are as old as if they had come in time.
            self._oldest = self._last_invoke
        self._last_invoke = now
        self.invocations.began(request_id)
        self._promise_nothing()  # what was promised and could not be kept, the sink being down, is due again
        waiting = self._waiting(on_the_way=on_the_way)
        due = self._policy.on_invoke(waiting, self._pace)
        self._since_seal += 1
        if due and due.moment is Moment.AFTER:
            self._promised_since, self._promised_bytes = now, waiting.size
        return Begun(due, previous)

    def due_now(self) -> Due | None:
        """What time and size (and on Managed Instances the number of reports) make due while the environment runs."""
        if self.invocations.in_the_middle:
            return None
        waiting = self._waiting()
        return self._policy.while_running(waiting) or (self._policy.on_end(waiting) if self._managed else None)

    def seconds_until_old(self) -> float | None:
        """How long until age alone makes a flush due; None when it never will."""
        return self._policy.seconds_until_old(self._waiting())

    def seal(self, *, running: int) -> Segment | None:
        """Seal what waits; `running` invocations have begun and are not over, and belong to the next segment too."""
        self._since_seal = running
        self._reports_at_seal = self.invocations.reports
        self._oldest = None
        self._promise_nothing()
        return self._journal.seal()

    def close(self) -> Segment | None:
        """Seal the environment's last segment; nothing is accepted from here on."""
        self._closed = True
        return self._journal.seal(last=True)

    def _promise_nothing(self) -> None:
        self._promised_since, self._promised_bytes = None, 0

    def _waiting(self, *, on_the_way: bool = False) -> Waiting:
        """What waits. Once its flush after this invocation is promised, age and size count from the promise.

        Else what was old or large when INVOKE came would be shipped while the invocation runs, in an object without it,
        and the invocation would be held for another.
        """
        now = self._clock()
        since = now if self._oldest is None else max(self._oldest, self._promised_since or self._oldest)
        ended = self.invocations.reports - self._reports_at_seal if self._managed else self._since_seal
        size = max(self._journal.waiting_bytes - self._promised_bytes, int(on_the_way))
        return Waiting(size=size, age=now - since, invocations=ended)
