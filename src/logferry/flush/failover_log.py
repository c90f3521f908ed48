"""Messages about failed uploads, if there is a fallback destination.

Guarantees:
- One warning states that the fallback destination stores the records, with the failure of the first destination
  and its remedy. If both fail, one warning names both failures.
- One warning states that the first destination works again.
- A repeated rejection of one object is logged for debugging.
- A rejection is logged even if it follows another failure. All other repeated failures are logged for debugging.

Design: each line costs the user in CloudWatch. The failure that leads to the fallback destination is therefore logged
together with the result of the second attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import SinkRejected
from logferry.log import get_logger

if TYPE_CHECKING:
    from logferry.errors import SinkError
    from logferry.flush.failover import Failover
    from logferry.flush.target import Target
    from logferry.journal.segment import Segment

_WORKING, _FAILED, _FALLBACK, _BOTH_FAILED = range(4)
"""Most severe state that a warning has reported."""

log = get_logger()


class FailoverLog:
    """The messages of an uploader with a fallback destination."""

    def __init__(self, failover: Failover) -> None:
        self._first = failover.first
        self._second = failover.second
        self._state = _WORKING
        self._failures: dict[Target, SinkError] = {}
        """Last failure of each target since its last success."""
        self._is_pending = False
        """Whether a failure of the first target waits for the result of the second one."""
        self._retry_in = 0.0

    def failed(self, target: Target, segment: Segment, error: SinkError, *, retry_in: float, is_last: bool) -> None:
        """Log a failed attempt. `is_last`: no other target is tried after it, so that the records stay in the spool."""
        if error.is_of_object and target.limits.rejections(segment) > 1:
            log.debug("an object was rejected again", reason=str(error), next_attempt_in_s=round(retry_in, 1))
            return
        earlier = self._failures.get(target)
        if isinstance(error, SinkRejected) and not isinstance(earlier, SinkRejected):
            self._state = _WORKING
        self._failures[target] = error
        self._retry_in = retry_in
        if target is self._second:
            self._report(_BOTH_FAILED)
        elif not is_last:
            self._is_pending = True
        else:
            self._report(_FAILED, is_known=target.limits.timeouts(segment) > 1)

    def stored(self, target: Target) -> None:
        """Log the first success after a failure."""
        self._failures.pop(target, None)
        if target is self._second:
            self._report(_FALLBACK)
            return
        if self._state == _FAILED:
            log.warning("uploads work again", after_failures=target.breaker.failures)
        elif self._state != _WORKING:
            message = "the destination works again, the fallback destination is not used any more"
            log.warning(message, after_failures=target.breaker.failures)
        self._state, self._is_pending = _WORKING, False

    def drained(self) -> None:
        """Log a failure of the first target if the deadline has passed before the second one was tried."""
        if self._is_pending:
            self._report(_FAILED)

    def _report(self, state: int, *, is_known: bool = False) -> None:
        """Log a state: as a warning if it is new. `is_known`: the timeouts of the segment have been logged."""
        self._is_pending = False
        is_more_severe = state > self._state and not is_known
        is_new = is_more_severe or (state == _FALLBACK and self._state == _BOTH_FAILED)
        if is_new:
            self._state = state
        write = log.warning if is_new else log.debug
        reason = str(self._failures.get(self._first, ""))
        details: dict[str, object] = {"reason": reason, "next_attempt_in_s": round(self._retry_in, 1)}
        # Three cases: 1. the fallback destination stores the records, 2. both fail, 3. the first one fails.
        if state == _FALLBACK:
            message = "uploads to the destination fail, the fallback destination stores the records"
            write(message, fallback=str(self._second.sink), **details)
        elif state == _BOTH_FAILED:
            message = "uploads to the destination and to the fallback destination fail, the records stay in the spool"
            write(message, fallback_reason=str(self._failures[self._second]), **details)
        else:
            write("an upload failed, the records stay in the spool", **details)
