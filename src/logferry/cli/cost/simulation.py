"""Flushes of one execution environment between its first invocation and SHUTDOWN, by simulation.

Pure.

Guarantees:
- Each decision comes from `logferry.flush.policy`, which is called at the same moments as in the
  extension.
- The run time is some milliseconds, however many invocations the environment has.

Design: the workload is regular. Invocations have a fixed distance, and each one logs evenly while
it runs. Pending bytes only grow until a seal, so a binary search finds the next invocation with a
flush. After `MAX_SIMULATED_FLUSHES` the rest is extrapolated. The state is one number, `_sealed`:
the count of invocations whose records are sealed, with the running invocation as a fraction. Size,
age and invocations since the last seal follow.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.flush.policy import Pace, Timing, Waiting
from logferry.values import SHORT_BUFFER_MS

if TYPE_CHECKING:
    from logferry.flush.policy import Due, Policy

MAX_SIMULATED_FLUSHES = 500
"""Simulated flushes before extrapolation. The first two or three differ, and the others repeat."""
BATCH_BYTES = 1 << 20
"""Maximum size of a batch, in bytes. The platform also sends after 25 ms (Telemetry API,
"Buffering")."""


@dataclass(frozen=True)
class Workload:
    """The load of one environment: `invocations`, one every `gap` seconds.

    Each invocation runs for `seconds`. Each invocation logs `size` bytes. SHUTDOWN follows `idle`
    seconds after the end of the last one.
    """

    invocations: int
    gap: float
    seconds: float
    size: int
    idle: float
    max_pending: int
    """Bytes that the journal holds in one segment before it seals the segment by itself."""


@dataclass(frozen=True)
class FlushTotals:
    """Objects of one environment by flush timing, and the maximum delay of a record in seconds.

    SHUTDOWN always stores one more object, because the last `platform.report` follows all other
    records.
    """

    post_execution: float
    next_invocation: float
    max_delay: float

    @property
    def objects(self) -> float:
        """The number of all objects, with the one of SHUTDOWN."""
        return self.post_execution + self.next_invocation + 1


def simulate(policy: Policy, workload: Workload) -> FlushTotals:
    """Return the flushes of an environment under a policy."""
    simulation = _Simulation(policy, workload)
    number = 0
    while number < workload.invocations and simulation.flushes < MAX_SIMULATED_FLUSHES:
        simulation.run(number)
        number = simulation.next_with_flush(number + 1)
    share = workload.invocations / number
    return FlushTotals(
        post_execution=simulation.post_execution * share,
        next_invocation=simulation.next_invocation * share,
        max_delay=simulation.max_delay(number),
    )


class _Simulation:
    """The seals up to an invocation."""

    def __init__(self, policy: Policy, workload: Workload) -> None:
        self._policy = policy
        self._workload = workload
        large = bisect_left(
            range(workload.max_pending), True, key=lambda size: policy.while_running(Waiting(size=size)) is not None
        )
        batch = min(BATCH_BYTES, workload.size * min(1.0, SHORT_BUFFER_MS / 1000 / workload.seconds))
        self._flush_bytes = max(large, batch)  # the records of one batch are sealed together
        self._max_bytes = max(workload.max_pending, batch)
        self._sealed = 0.0
        self._longest = 0.0
        self.post_execution = self.next_invocation = 0

    @property
    def flushes(self) -> int:
        """The number of flushes so far."""
        return self.post_execution + self.next_invocation

    def run(self, number: int) -> None:
        """Simulate one invocation: seal at INVOKE, while it runs, and after it, if a flush is due."""
        start, seconds = number * self._workload.gap, self._workload.seconds
        due = self._on_invoke(number)
        pending_flush = due is not None and due.timing is Timing.POST_EXECUTION
        if due and not pending_flush:
            self._seal(number, at=start)
            self.next_invocation += 1
        while (into := self._seconds_until_due(number, pending_flush=pending_flush)) < seconds:
            self._seal(number + into / seconds, at=start + into)
            self.next_invocation += 1
        if pending_flush:
            self._seal(number + 1, at=start + seconds)
            self.post_execution += 1

    def next_with_flush(self, number: int) -> int:
        """Return the first invocation from `number` on with a flush, or their total without one."""

        def has_flush(number: int) -> bool:
            due = self._on_invoke(number)
            return due is not None or self._seconds_until_due(number, pending_flush=False) < self._workload.seconds

        return bisect_left(range(self._workload.invocations), True, lo=number, key=has_flush)

    def max_delay(self, reached: int) -> float:
        """Return the maximum delay of a record.

        SHUTDOWN stores the records that no flush has stored.
        """
        if self.post_execution == reached:
            return self._longest
        end = (self._workload.invocations - 1) * self._workload.gap + self._workload.seconds
        is_complete = reached == self._workload.invocations
        left = max(0.0, end - self._logged_at(self._sealed)) if is_complete else self._longest
        return max(self._longest, left + self._workload.idle)

    def _seal(self, sealed: float, *, at: float) -> None:
        self._longest = max(self._longest, at - self._logged_at(self._sealed))
        self._sealed = sealed

    def _logged_at(self, place: float) -> float:
        """Return the seconds between the first invocation and the first record after `place`."""
        number = math.floor(place)
        return number * self._workload.gap + (place - number) * self._workload.seconds

    def _on_invoke(self, number: int) -> Due | None:
        waiting = Waiting()
        if number > self._sealed:
            waiting = Waiting(
                size=math.ceil(self._bytes_up_to(number)),
                age=number * self._workload.gap - self._logged_at(self._sealed),
                invocations=number - math.floor(self._sealed),
            )
        return self._policy.on_invoke(waiting, Pace(self._workload.gap) if number else Pace())

    def _seconds_until_due(self, number: int, *, pending_flush: bool) -> float:
        """Return the seconds from INVOKE until a flush is due, or more than the duration.

        If a flush follows the invocation anyway, age and size count from its INVOKE.
        """
        start, seconds = number * self._workload.gap, self._workload.seconds
        place = max(float(number), self._sealed)
        now = self._logged_at(place)
        since = max(self._logged_at(self._sealed), start if pending_flush else 0.0)
        old = self._policy.seconds_until_old(Waiting(size=1, age=now - since))
        before = self._bytes_up_to(max(float(number), self._sealed)) if pending_flush else 0.0
        limit = min(self._flush_bytes + before, self._max_bytes)
        large = (limit - self._bytes_up_to(place)) / self._workload.size * seconds
        return now - start + min(large, math.inf if old is None else old)

    def _bytes_up_to(self, place: float) -> float:
        return (place - self._sealed) * self._workload.size
