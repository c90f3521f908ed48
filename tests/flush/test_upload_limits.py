"""Time limits of uploads: they grow with size and timeouts, and slow segments do not block the others."""

from __future__ import annotations

import pytest

from logferry.flush.upload_limits import (
    ASSUMED_BYTES_PER_SECOND,
    LARGE_BYTES,
    LONGEST_SECONDS,
    SLOWEST_BYTES_PER_SECOND,
    UploadLimits,
)
from logferry.journal.segment import SEALED, Segment

TIMEOUT = 5.0
MIB = 1024 * 1024


def segment(number: int, state: str = SEALED) -> Segment:
    """Return a segment of which only the number matters."""
    return Segment(f"/spool/{number}.{state}", "e1", number, 0, state, 100)


def new_limits() -> UploadLimits:
    """Return limits without jitter."""
    return UploadLimits(timeout_seconds=TIMEOUT, jitter=lambda: 0.5)


@pytest.mark.parametrize("size", [0, LARGE_BYTES - 1])
def test_limit_of_a_small_object_is_the_upload_timeout(size: int) -> None:
    """The size of a small object cannot be the cause of a timeout, so the limit does not grow."""
    limits = new_limits()
    for _ in range(10):
        assert limits.seconds(segment(1), size) == TIMEOUT
        limits.note_timeout(segment(1), size, 0.0)
    assert limits.is_ready(segment(1), 0.0)


def test_limit_grows_with_the_size_of_the_object() -> None:
    """A large object needs more time on every network."""
    limits = new_limits()
    assert limits.seconds(segment(1), 4 * MIB) == TIMEOUT + 4 * MIB / ASSUMED_BYTES_PER_SECOND
    assert limits.seconds(segment(1), 8 * MIB) == TIMEOUT + 8 * MIB / ASSUMED_BYTES_PER_SECOND


def test_limit_grows_with_each_timeout_of_the_segment_up_to_a_bound() -> None:
    """The assumed rate is halved until it is the slowest one; other segments keep their limit."""
    limits = new_limits()
    found = []
    for _ in range(6):
        found.append(limits.seconds(segment(1), 4 * MIB))
        limits.note_timeout(segment(1), 4 * MIB, 0.0)
    slowest = TIMEOUT + 4 * MIB / SLOWEST_BYTES_PER_SECOND
    assert found == [TIMEOUT + 8, TIMEOUT + 16, TIMEOUT + 32, slowest, slowest, slowest]
    assert limits.seconds(segment(2), 4 * MIB) == TIMEOUT + 8
    assert limits.seconds(segment(1), 1000 * MIB) == LONGEST_SECONDS


def test_timeout_postpones_the_segment_for_longer_each_time() -> None:
    """The other segments must show meanwhile whether the sink works, and invocations must not be held each time."""
    limits = new_limits()
    for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        limits.note_timeout(segment(1), MIB, 100.0)
        assert not limits.is_ready(segment(1), 100.0 + seconds - 0.001)
        assert limits.is_ready(segment(1), 100.0 + seconds)
    assert limits.is_ready(segment(2), 100.0)


def test_segments_with_timeouts_come_last() -> None:
    """Segments are uploaded oldest first, but a slow one must not block the others."""
    limits = new_limits()
    backlog = [segment(number) for number in (1, 2, 3, 4)]
    limits.note_timeout(segment(1), MIB, 0.0)
    limits.note_timeout(segment(1), MIB, 0.0)
    limits.note_timeout(segment(3), MIB, 0.0)
    assert [one.number for one in limits.in_order(backlog)] == [2, 4, 3, 1]


def test_hold_is_one_upload_timeout_until_a_large_object_has_timed_out() -> None:
    """The function comes first: only a known slow object that is ready extends the time of an invocation."""
    limits = new_limits()
    backlog = [segment(1), segment(2)]
    assert limits.hold_seconds(backlog, 0.0) == TIMEOUT
    limits.note_timeout(segment(1), 4 * MIB, 0.0)
    assert limits.hold_seconds(backlog, 0.5) == TIMEOUT
    assert limits.hold_seconds(backlog, 1.0) == TIMEOUT + 16
    assert limits.hold_seconds([segment(2)], 1.0) == TIMEOUT


def test_limits_recognize_a_segment_whose_file_was_renamed() -> None:
    """The state of a segment changes its file name, not its identity."""
    limits = new_limits()
    limits.note_timeout(segment(1, "last"), MIB, 0.0)
    assert limits.timeouts(segment(1)) == 1


def test_limits_forget_segments_that_left_the_backlog() -> None:
    """Memory is bounded by the backlog."""
    limits = new_limits()
    limits.note_timeout(segment(1), MIB, 0.0)
    limits.note_timeout(segment(2), MIB, 0.0)
    limits.retain([segment(2)])
    assert (limits.timeouts(segment(1)), limits.timeouts(segment(2))) == (0, 1)
