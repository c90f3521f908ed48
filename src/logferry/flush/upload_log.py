"""Messages about failed uploads, without a fallback destination.

Guarantees:
- A failure is logged once, with its remedy, and so is the recovery.
- A rejection of one object is logged once for a segment, and for several segments in a row. It has no recovery.
- A rejection is logged even if it follows another failure. All other repeated failures are logged for debugging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import SinkRejected
from logferry.log import get_logger

if TYPE_CHECKING:
    from logferry.errors import SinkError
    from logferry.flush.target import Target
    from logferry.journal.segment import Segment

log = get_logger()


class UploadLog:
    """The messages of an uploader without a fallback destination."""

    def __init__(self) -> None:
        self._failure_logged = False
        self._rejected = False
        self._object_rejected = False
        """Whether one object was rejected since the last success."""

    def failed(self, target: Target, segment: Segment, error: SinkError, *, retry_in: float, is_last: bool) -> None:
        """Log a failed attempt: as a warning if it is new."""
        del is_last
        if error.is_of_object:
            is_new = not self._object_rejected and target.limits.rejections(segment) == 1
            self._object_rejected = True
        else:
            rejected = isinstance(error, SinkRejected)
            # 1. The first rejection. 2. The first failure, unless the segment's timeouts have been logged.
            is_new = (rejected and not self._rejected) or (
                not self._failure_logged and target.limits.timeouts(segment) <= 1
            )
            self._rejected = rejected
            self._failure_logged |= is_new
        write = log.warning if is_new else log.debug
        message = "an upload failed, the records stay in the spool"
        write(message, reason=str(error), next_attempt_in_s=round(retry_in, 1))

    def stored(self, target: Target) -> None:
        """Log the first success after a failure."""
        if self._failure_logged:
            log.warning("uploads work again", after_failures=target.breaker.failures)
        self._failure_logged = self._rejected = self._object_rejected = False

    def drained(self) -> None:
        """Do nothing: each failure has been logged."""
