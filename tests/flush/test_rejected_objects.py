"""A destination that rejects some objects for their size or content, and stores the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.flush.circuit_breaker import LONGEST_SECONDS, REJECTED_SECONDS
from support.journal_harness import numbered
from support.sink_doubles import RejectingObjectsSink, StoringSink, ThrottlingSink
from support.uploader_harness import FAR, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, now, run

if TYPE_CHECKING:
    from pathlib import Path


def test_other_segments_are_uploaded_while_one_is_rejected(tmp_path: Path) -> None:
    """A body that is too large used to stop all uploads until the spool was full."""
    journal, sink = sealed_journal(tmp_path, 0, 0, 0), RejectingObjectsSink(1)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        assert not it.has_ready_segment(), "the circuit breaker is open"
        await asyncio.sleep(1.0)
        assert await it.drain(FAR) == 2
        for _ in range(20):
            assert not it.has_ready_segment(), "an invocation is not held for the rejected object"
            await asyncio.sleep(REJECTED_SECONDS / 25)
            await it.drain(FAR)
        await asyncio.sleep(REJECTED_SECONDS)
        sink.rejected.clear()
        assert await it.drain(FAR) == 1

    with capture_logs() as logs:
        run(scenario())
    assert sink.segments == [1, 2, 3, 1]
    assert journal.sealed == ()
    assert "413" in logged(logs)[0]


@pytest.mark.parametrize("has_fallback", [False, True])
def test_repeated_rejection_of_an_object_is_logged_once(tmp_path: Path, *, has_fallback: bool) -> None:
    """It is tried again every five minutes, between the uploads of other objects, and each line costs the user."""
    journal, sink = sealed_journal(tmp_path, 0), RejectingObjectsSink(1)

    async def scenario() -> None:
        it = new_uploader(journal, sink, RejectingObjectsSink(1) if has_fallback else None)
        for number in range(2, 60):
            await it.drain(FAR)
            journal.append(numbered(number))
            journal.seal()
            await asyncio.sleep(REJECTED_SECONDS / 10)
            await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert sink.segments.count(1) >= 4
    assert numbers(journal) == [1]
    assert ["413" in message for message in logged(logs)] == ([True, False] if has_fallback else [True])


def test_requests_become_rare_if_every_object_is_rejected(tmp_path: Path) -> None:
    """The cause is not a single object, but for example LOGFERRY_FORMAT."""
    count = 12
    journal, sink = sealed_journal(tmp_path, *[0] * count), RejectingObjectsSink(*range(1, count + 1))

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        while now() < 600:
            await it.drain(FAR)
            await asyncio.sleep(0.5)

    with capture_logs() as logs:
        run(scenario())
    assert len(journal.sealed) == count
    gaps = [after - before for before, after in zip(sink.timings, sink.timings[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert max(gaps) >= LONGEST_SECONDS
    assert len(logged(logs)) == 1, "the message is logged once"


def test_last_upload_tries_each_segment_once_if_some_are_rejected(tmp_path: Path) -> None:
    """SHUTDOWN is the last chance of the others."""
    journal, sink = sealed_journal(tmp_path, 0, 0, 0, 0), RejectingObjectsSink(1, 3)

    async def scenario() -> float:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        assert await it.drain(Deadline(START + 1.75), force=True) == 2
        return now()

    assert run(scenario()) < 0.1
    assert sink.segments == [1, 2, 3, 4, 1]
    assert numbers(journal) == [1, 3]


def test_fallback_gets_only_the_objects_that_the_first_destination_rejects(tmp_path: Path) -> None:
    """The first destination works, so that readers find the other objects there."""
    journal, first, second = sealed_journal(tmp_path), RejectingObjectsSink(1), StoringSink()

    async def scenario() -> None:
        it = new_uploader(journal, first, second)
        await it.drain(FAR)
        await asyncio.sleep(1.0)
        await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert first.segments == [1, 2, 3]
    assert [stored.metadata["segment"] for stored in second.objects.values()] == ["1"]
    assert journal.sealed == ()
    assert "the fallback destination stores the records" in logged(logs)[0]
    assert "413" in logged(logs)[0]


def test_other_segments_are_uploaded_while_both_destinations_reject_one(tmp_path: Path) -> None:
    """Both are receivers, for example, and the object is malformed for both."""
    journal, first, second = sealed_journal(tmp_path), RejectingObjectsSink(1), RejectingObjectsSink(1)

    async def scenario() -> None:
        it = new_uploader(journal, first, second)
        await it.drain(FAR)
        await asyncio.sleep(1.0)
        assert await it.drain(FAR) == 2
        assert not it.has_ready_segment(), "an invocation is not held for the rejected object"

    with capture_logs() as logs:
        run(scenario())
    assert (first.segments, second.segments) == ([1, 2, 3], [1])
    assert numbers(journal) == [1]
    assert "uploads to the destination and to the fallback destination fail" in logged(logs)[0]


@pytest.mark.parametrize("rejected_before", [False, True])
def test_last_upload_offers_each_segment_to_both_destinations(tmp_path: Path, *, rejected_before: bool) -> None:
    """SHUTDOWN is the last chance: one object that both reject does not stop the others."""
    journal, first, second = sealed_journal(tmp_path, 0, 0, 0, 0), RejectingObjectsSink(1, 3), RejectingObjectsSink(1)

    async def scenario() -> float:
        it = new_uploader(journal, first, second)
        if rejected_before:
            await it.drain(FAR)
        await it.drain(Deadline(START + 1.75), force=True)
        return now()

    assert run(scenario()) < 0.1
    assert numbers(journal) == [1]


def test_last_upload_retries_a_failed_destination_after_the_other_one_has_rejected_the_object(tmp_path: Path) -> None:
    """The pause between two attempts depends on no particular order of the failures."""
    journal, first, second = sealed_journal(tmp_path, 0), ThrottlingSink(times=2), RejectingObjectsSink(1)

    async def scenario() -> None:
        it = new_uploader(journal, first, second)
        await it.drain(Deadline(START + 1.75), force=True)

    run(scenario())
    assert journal.sealed == ()
    assert len(first.requests) == 3
    assert second.segments == [1]
