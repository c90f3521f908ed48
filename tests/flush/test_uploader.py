"""The uploader on virtual time: order, deadlines, failures, and what is logged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.errors import SinkUnavailable
from logferry.flush.circuit_breaker import REJECTED_SECONDS
from support.journal_harness import numbered, open_journal
from support.sink_doubles import (
    REMEDY,
    FreezingSink,
    RejectingSink,
    ResetAfterStoringSink,
    StallingSink,
    StoringSink,
    ThrottlingSink,
)
from support.uploader_harness import FAR, TIMEOUT, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, freeze, now, run

if TYPE_CHECKING:
    from logferry.records.model import StoredObject


def test_uploader_removes_a_segment_after_the_sink_has_confirmed_it(tmp_path: Path) -> None:
    """The removal is the commit, so it must not come first."""
    journal = sealed_journal(tmp_path, 0)
    waiting: list[int] = []

    class Observer(StoringSink):
        async def put(self, stored: StoredObject) -> None:
            await super().put(stored)
            waiting.append(len(journal.sealed))

    async def scenario() -> None:
        await new_uploader(journal, Observer(0.5)).drain(FAR)

    run(scenario())
    assert waiting == [1]
    assert journal.sealed == ()


def test_uploader_ends_after_a_failure_and_keeps_the_segments(tmp_path: Path) -> None:
    """The other segments are not tried, because they would probably fail as well."""
    journal, sink = sealed_journal(tmp_path), ThrottlingSink()

    async def scenario() -> None:
        await new_uploader(journal, sink).drain(FAR)

    run(scenario())
    assert len(sink.requests) == 1
    assert numbers(journal) == [1, 2, 3]


def test_uploader_makes_no_attempt_while_the_circuit_breaker_is_open(tmp_path: Path) -> None:
    """Until the next trial a drain takes no time."""
    journal, sink = sealed_journal(tmp_path), StallingSink()

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        assert now() == pytest.approx(TIMEOUT)
        for _ in range(100):
            assert not it.has_ready_segment()
            await it.drain(FAR)
        assert now() == pytest.approx(TIMEOUT)
        await asyncio.sleep(1.0)
        assert it.has_ready_segment()
        await it.drain(FAR)
        assert now() == pytest.approx(2 * TIMEOUT + 1.0)

    run(scenario())
    assert len(sink.requests) == 2


def test_uploader_uploads_the_backlog_at_once_after_a_recovery(tmp_path: Path) -> None:
    """After one successful trial the others follow; the recovery is logged once."""
    journal, sink = sealed_journal(tmp_path), ThrottlingSink(times=3)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        for seconds in (1, 2, 4):
            await it.drain(FAR)
            await asyncio.sleep(seconds)
        await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert journal.sealed == ()
    assert sink.timings == [0.0, 1.0, 3.0, 7.0, 7.0, 7.0]
    warnings = logged(logs)
    assert len(warnings) == 2
    assert "SlowDown" in warnings[0]
    assert "work again" in warnings[1]


def test_uploader_logs_a_rejection_once_with_its_remedy(tmp_path: Path) -> None:
    """Attempts are rare until a person has changed something."""
    journal, sink = sealed_journal(tmp_path), RejectingSink(times=3)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        while journal.sealed:
            await it.drain(FAR)
            await asyncio.sleep(REJECTED_SECONDS / 10)

    with capture_logs() as logs:
        run(scenario())
    assert [m for m in sink.timings if m][:3] == [REJECTED_SECONDS, 2 * REJECTED_SECONDS, 3 * REJECTED_SECONDS]
    assert [REMEDY in warning for warning in logged(logs)] == [True, False]


def test_uploader_logs_a_rejection_that_follows_another_failure(tmp_path: Path) -> None:
    """A transient outage, and then the bucket is missing: the second failure needs an action."""
    journal = sealed_journal(tmp_path)

    class Both(RejectingSink):
        async def _fail(self, stored: StoredObject) -> None:
            if len(self.requests) == 1:
                raise SinkUnavailable("503 SlowDown")
            await super()._fail(stored)

    async def scenario() -> None:
        it = new_uploader(journal, Both())
        await it.drain(FAR)
        await asyncio.sleep(2)
        await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert any(REMEDY in warning for warning in logged(logs))


def test_uploader_ends_a_stalled_upload_after_its_timeout(tmp_path: Path) -> None:
    """LOGFERRY_UPLOAD_TIMEOUT limits each upload of a small object."""
    journal, sink = sealed_journal(tmp_path), StallingSink(times=1)

    async def scenario() -> float:
        await new_uploader(journal, sink).drain(FAR)
        return now()

    assert run(scenario()) == pytest.approx(TIMEOUT)
    assert sink.in_flight == 0
    assert len(journal.sealed) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.3, 4.9])
def test_uploader_has_nothing_in_flight_after_the_deadline(tmp_path: Path, seconds: float) -> None:
    """A deadline before the timeout ends the upload, and the segment stays."""
    journal, sink = sealed_journal(tmp_path), StallingSink()

    async def scenario() -> float:
        await new_uploader(journal, sink).drain(Deadline(START + seconds))
        return now()

    assert run(scenario()) == pytest.approx(seconds)
    assert sink.in_flight == 0
    assert len(journal.sealed) == 3


def test_uploader_logs_the_duration_of_a_failed_upload(tmp_path: Path) -> None:
    """Otherwise a user would raise a timeout that was not the cause."""
    journal = sealed_journal(tmp_path)

    async def scenario() -> None:
        await new_uploader(journal, StallingSink()).drain(Deadline(START + 0.3))

    with capture_logs() as logs:
        run(scenario())
    assert "not stored within 0.3 s, the time that the deadline left" in logged(logs)[0]


def test_uploader_repeats_an_upload_without_a_response_under_the_same_key(tmp_path: Path) -> None:
    """The repeated upload has the same key and bytes, so no record is stored twice."""
    journal, sink = sealed_journal(tmp_path, 0, 0), ResetAfterStoringSink()

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        await asyncio.sleep(1)
        await it.drain(FAR)

    run(scenario())
    assert [key[-12:] for _, key in sink.requests] == ["01.ndjson.gz", "01.ndjson.gz", "02.ndjson.gz"]
    assert sink.lines() == ["1 ", "2 "]


def test_uploader_has_one_upload_in_flight_for_all_callers(tmp_path: Path) -> None:
    """Concurrent drains store each segment once, and the last caller waits for all of them."""
    journal, sink = sealed_journal(tmp_path), StoringSink(0.5)

    async def scenario() -> float:
        it = new_uploader(journal, sink)
        drains = [asyncio.create_task(it.drain(FAR)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert sink.in_flight == 1
        await it.drain(FAR)
        timing = now()
        await asyncio.gather(*drains)
        return timing

    assert run(scenario()) == pytest.approx(1.5)
    assert sink.most_in_flight == 1
    assert len(sink.requests) == 3


@pytest.mark.parametrize(("kind", "how"), [(StoringSink, 0.5), (StallingSink, 3), (FreezingSink, 3600.0)])
def test_uploader_has_a_ready_segment_during_an_upload(tmp_path: Path, kind: type[StoringSink], how: float) -> None:
    """A caller that finds no ready segment can rely on it that nothing is in flight."""
    journal, sink = sealed_journal(tmp_path), kind(how)
    seen: list[bool] = []

    async def scenario() -> None:
        it = new_uploader(journal, sink)

        async def watch() -> None:
            while True:
                seen.extend([it.has_ready_segment()] if sink.in_flight else [])
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        while journal.sealed:
            await it.drain(FAR)
            await asyncio.sleep(0.1)
        watching.cancel()

    run(scenario())
    assert set(seen) == {True}


def test_uploader_ends_the_wait_for_the_drain_of_another_caller_at_the_deadline(tmp_path: Path) -> None:
    """The other drain may last longer; `shorten_deadline` would end it."""
    journal, sink = sealed_journal(tmp_path), StallingSink()

    async def scenario() -> float:
        it = new_uploader(journal, sink)
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0)
        await it.drain(Deadline(START + 1))
        timing = now()
        assert sink.in_flight == 1
        drain.cancel()
        return timing

    assert run(scenario()) == pytest.approx(1)


def test_shortened_deadline_ends_an_upload_in_flight_and_never_extends_it(tmp_path: Path) -> None:
    """A new event may leave less time than there was when the upload began."""

    async def scenario(seconds: float, directory: Path) -> float:
        it = new_uploader(sealed_journal(directory), StallingSink())
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0.1)
        it.shorten_deadline(Deadline(START + seconds))
        await drain
        return now()

    assert run(scenario(1.0, tmp_path / "a")) == pytest.approx(1.0)
    assert run(scenario(99.0, tmp_path / "b")) == pytest.approx(TIMEOUT)


def test_shortened_deadline_applies_to_all_segments_of_the_drain(tmp_path: Path) -> None:
    """Before, only the upload in flight was limited, and the next one began as if there were time."""
    journal, sink = sealed_journal(tmp_path), StoringSink(0.5)

    async def scenario() -> float:
        it = new_uploader(journal, sink)
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0.1)
        it.shorten_deadline(Deadline(START + 0.7))
        await drain
        return now()

    assert run(scenario()) == pytest.approx(0.7)
    assert len(journal.sealed) == 2


@pytest.mark.parametrize(
    ("frozen", "bound"),
    [
        (10.0, 60.0),
        (50.0, 60.0),
        (3600.0, 1e6),
        (3600.0, 60.0),
    ],
)
def test_uploader_repeats_an_upload_after_a_freeze(tmp_path: Path, frozen: float, bound: float) -> None:
    """A freeze is no failure of the sink, so the circuit breaker stays closed."""
    journal, sink = sealed_journal(tmp_path, 0), FreezingSink(frozen)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(Deadline(START + bound))
        assert it._first.breaker.failures == 0

    run(scenario())
    assert journal.sealed == ()
    assert len(sink.requests) == 2


def test_uploader_reports_a_missing_segment_and_uploads_the_others(tmp_path: Path) -> None:
    """The next object contains the loss, and it is no failure of the sink."""
    journal, sink = sealed_journal(tmp_path), StoringSink()
    Path(journal.sealed[1].path).unlink()

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        journal.seal()
        await it.drain(FAR)
        assert it._first.breaker.failures == 0

    with capture_logs() as logs:
        run(scenario())
    assert sink.lines() == ["1 ", "3 "]
    assert [r["record"]["segment"] for r in sink.records() if r["type"] == "logferry.dropped"] == [2]
    assert len(logged(logs, "error")) == 1


def test_uploader_keeps_the_segment_in_flight_while_the_spool_overflows(tmp_path: Path) -> None:
    """A stored record is not reported as lost, and a record that is reported as lost is not stored."""
    journal = open_journal(tmp_path, limit_bytes=40_000)
    sink = StoringSink(1.0)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        journal.append(numbered(1, size=6000))
        journal.seal()
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0.1)
        for n in range(2, 20):
            journal.append(numbered(n, size=6000))
            journal.seal()
        await drain
        journal.seal()
        await it.drain(FAR)

    run(scenario())
    arrived = {line.split()[0] for line in sink.lines()}
    reports = [r["record"] for r in sink.records() if r["type"] == "logferry.dropped"]
    lost = {number for report in reports for number in range(report["segment"], report["until"] + 1)}
    assert "1" in arrived
    assert 1 not in lost
    assert len(arrived) < 11


def test_uploader_begins_no_upload_after_the_deadline(tmp_path: Path) -> None:
    """After a thaw the deadline has passed, and the next event brings a new one."""
    journal, sink = sealed_journal(tmp_path), StoringSink()

    async def scenario() -> None:
        deadline = Deadline(START + 1)
        freeze(100)
        await new_uploader(journal, sink).drain(deadline)

    run(scenario())
    assert sink.requests == []
