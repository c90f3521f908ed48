"""Sealed segments to the sink, in order, within the time given; on virtual time, with sinks that misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from journal.scene import numbered, open_journal
from logferry.breaker import REJECTED_SECONDS, Breaker
from logferry.deadline import Deadline
from logferry.encode import DEFAULT_KEY, StoredObject, encode
from logferry.errors import SinkUnavailable
from logferry.uploader import Uploader
from support.sink_doubles import (
    REMEDY,
    IsFrozenInTheMiddle,
    Rejects,
    ResetsAfterStoring,
    Stalls,
    Takes,
    Throttles,
)
from virtual_time import START, freeze, now, run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Header

TIMEOUT = 5.0
FAR = Deadline(START + 1e6)


def as_object(header: Header, bodies: Iterable[bytes], final: bool) -> StoredObject:
    """Encode as the extension does."""
    return encode(header, bodies, final=final, key=DEFAULT_KEY, compress=False, types=frozenset({"function"}))


def sealed(directory: Path, segments: int = 3) -> Journal:
    """Give a journal with so many sealed segments, numbered bodies in them."""
    journal = open_journal(directory)
    for n in range(1, segments + 1):
        journal.append(numbered(n))
        journal.seal()
    return journal


def uploader(journal: Journal, sink: Any) -> Uploader:
    """Give an uploader without jitter."""
    return Uploader(
        journal=journal, sink=sink, encode=as_object, timeout_seconds=TIMEOUT, breaker=Breaker(jitter=lambda: 0.5)
    )


def said(logs: list[Any], level: str = "warning") -> list[str]:
    """Give what was said aloud."""
    return [str(entry) for entry in logs if entry["log_level"] == level]


def test_all_that_is_sealed_is_stored_in_order_and_removed(tmp_path: Path) -> None:
    """Oldest first; the journal is empty afterwards."""
    journal, sink = sealed(tmp_path), Takes()

    async def scenario() -> None:
        await uploader(journal, sink).drain(FAR)

    run(scenario())
    assert sink.lines() == ["1 ", "2 ", "3 "]
    assert journal.sealed == ()
    assert sorted(sink.holds) == [key for _, key in sink.asked]


def test_a_segment_stays_until_the_sink_has_said_that_it_holds_it(tmp_path: Path) -> None:
    """Committed after, never before."""
    journal = sealed(tmp_path, 1)
    waiting: list[int] = []

    class Looks(Takes):
        async def put(self, stored: StoredObject) -> None:
            await super().put(stored)
            waiting.append(len(journal.sealed))

    async def scenario() -> None:
        await uploader(journal, Looks(0.5)).drain(FAR)

    run(scenario())
    assert waiting == [1]
    assert journal.sealed == ()


def test_a_failure_ends_the_attempt_and_keeps_everything(tmp_path: Path) -> None:
    """The ones behind it are not tried: they would fail alike, and order is kept."""
    journal, sink = sealed(tmp_path), Throttles()

    async def scenario() -> None:
        await uploader(journal, sink).drain(FAR)

    run(scenario())
    assert len(sink.asked) == 1
    assert [s.number for s in journal.sealed] == [1, 2, 3]


def test_an_open_breaker_costs_nothing(tmp_path: Path) -> None:
    """Until the next trial neither an attempt nor a moment."""
    journal, sink = sealed(tmp_path), Stalls()

    async def scenario() -> None:
        it = uploader(journal, sink)
        await it.drain(FAR)
        assert now() == pytest.approx(TIMEOUT)
        for _ in range(100):
            assert not it.owes()
            await it.drain(FAR)
        assert now() == pytest.approx(TIMEOUT)
        await asyncio.sleep(1.0)
        assert it.owes()
        await it.drain(FAR)
        assert now() == pytest.approx(2 * TIMEOUT + 1.0)

    run(scenario())
    assert len(sink.asked) == 2


def test_when_the_sink_works_again_everything_goes_at_once(tmp_path: Path) -> None:
    """One trial, and after it the rest; the recovery is said once."""
    journal, sink = sealed(tmp_path), Throttles(times=3)

    async def scenario() -> None:
        it = uploader(journal, sink)
        for seconds in (1, 2, 4):
            await it.drain(FAR)
            await asyncio.sleep(seconds)
        await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert journal.sealed == ()
    assert sink.moments == [0.0, 1.0, 3.0, 7.0, 7.0, 7.0]
    warnings = said(logs)
    assert len(warnings) == 2
    assert "SlowDown" in warnings[0]
    assert "work again" in warnings[1]


def test_what_has_to_be_mended_is_said_once_with_its_remedy(tmp_path: Path) -> None:
    """And tried rarely, until somebody has mended it."""
    journal, sink = sealed(tmp_path), Rejects(times=3)

    async def scenario() -> None:
        it = uploader(journal, sink)
        while journal.sealed:
            await it.drain(FAR)
            await asyncio.sleep(REJECTED_SECONDS / 10)

    with capture_logs() as logs:
        run(scenario())
    assert [m for m in sink.moments if m][:3] == [REJECTED_SECONDS, 2 * REJECTED_SECONDS, 3 * REJECTED_SECONDS]
    assert [REMEDY in warning for warning in said(logs)] == [True, False]


def test_a_remedy_is_said_even_when_another_failure_came_first(tmp_path: Path) -> None:
    """A passing outage, and then the bucket is gone: the second is what somebody must read."""
    journal = sealed(tmp_path)

    class Both(Rejects):
        async def _fail(self, stored: StoredObject) -> None:
            if len(self.asked) == 1:
                raise SinkUnavailable("503 SlowDown")
            await super()._fail(stored)

    async def scenario() -> None:
        it = uploader(journal, Both())
        await it.drain(FAR)
        await asyncio.sleep(2)
        await it.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert any(REMEDY in warning for warning in said(logs))


def test_an_upload_that_stalls_is_given_up_after_its_timeout(tmp_path: Path) -> None:
    """LOGFERRY_UPLOAD_TIMEOUT, for each."""
    journal, sink = sealed(tmp_path), Stalls(times=1)

    async def scenario() -> float:
        await uploader(journal, sink).drain(FAR)
        return now()

    assert run(scenario()) == pytest.approx(TIMEOUT)
    assert sink.in_flight == 0
    assert len(journal.sealed) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.3, 4.9])
def test_nothing_is_in_flight_after_the_deadline(tmp_path: Path, seconds: float) -> None:
    """The deadline comes before the timeout; what was begun is given up, and stays."""
    journal, sink = sealed(tmp_path), Stalls()

    async def scenario() -> float:
        await uploader(journal, sink).drain(Deadline(START + seconds))
        return now()

    assert run(scenario()) == pytest.approx(seconds)
    assert sink.in_flight == 0
    assert len(journal.sealed) == 3


def test_a_failure_says_how_long_was_really_waited(tmp_path: Path) -> None:
    """Else a user raises a timeout that is not to blame."""
    journal = sealed(tmp_path)

    async def scenario() -> None:
        await uploader(journal, Stalls()).drain(Deadline(START + 0.3))

    with capture_logs() as logs:
        run(scenario())
    assert "5 s" not in said(logs)[0]


def test_an_upload_that_was_stored_without_an_answer_is_repeated_and_overwrites_itself(tmp_path: Path) -> None:
    """The same key and the same bytes: nothing is there twice."""
    journal, sink = sealed(tmp_path, 2), ResetsAfterStoring()

    async def scenario() -> None:
        it = uploader(journal, sink)
        await it.drain(FAR)
        await asyncio.sleep(1)
        await it.drain(FAR)

    run(scenario())
    assert [key[-12:] for _, key in sink.asked] == ["01.ndjson.gz", "01.ndjson.gz", "02.ndjson.gz"]
    assert sink.lines() == ["1 ", "2 "]


def test_insisting_makes_one_attempt_while_the_breaker_is_open(tmp_path: Path) -> None:
    """SHUTDOWN is the last chance of this environment; when it works everything goes."""
    journal, sink = sealed(tmp_path), Throttles(times=2)

    async def scenario() -> None:
        it = uploader(journal, sink)
        await it.drain(FAR)
        await it.drain(FAR, insist=True)
        assert len(sink.asked) == 2
        await it.drain(FAR, insist=True)

    run(scenario())
    assert journal.sealed == ()


def test_one_upload_at_a_time_whoever_asks(tmp_path: Path) -> None:
    """Two drains at once store each segment once, and whoever asks last waits for both."""
    journal, sink = sealed(tmp_path), Takes(0.5)

    async def scenario() -> float:
        it = uploader(journal, sink)
        drains = [asyncio.create_task(it.drain(FAR)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert sink.in_flight == 1
        await it.drain(FAR)
        moment = now()
        await asyncio.gather(*drains)
        return moment

    assert run(scenario()) == pytest.approx(1.5)
    assert sink.most_in_flight == 1
    assert len(sink.asked) == 3


@pytest.mark.parametrize(("kind", "how"), [(Takes, 0.5), (Stalls, 3), (IsFrozenInTheMiddle, 3600.0)])
def test_while_an_upload_is_in_flight_something_is_owed(tmp_path: Path, kind: type[Takes], how: float) -> None:
    """So whoever is about to say "done" asks what is owed, and has waited for it when nothing is."""
    journal, sink = sealed(tmp_path), kind(how)
    seen: list[bool] = []

    async def scenario() -> None:
        it = uploader(journal, sink)

        async def watch() -> None:
            while True:
                seen.extend([it.owes()] if sink.in_flight else [])
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        while journal.sealed:
            await it.drain(FAR)
            await asyncio.sleep(0.1)
        watching.cancel()

    run(scenario())
    assert set(seen) == {True}


def test_waiting_for_an_upload_that_somebody_else_began_ends_with_the_deadline(tmp_path: Path) -> None:
    """It may last longer than whoever waits can; who wants it to end has to hurry it."""
    journal, sink = sealed(tmp_path), Stalls()

    async def scenario() -> float:
        it = uploader(journal, sink)
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0)
        await it.drain(Deadline(START + 1))
        moment = now()
        assert sink.in_flight == 1
        drain.cancel()
        return moment

    assert run(scenario()) == pytest.approx(1)


def test_hurrying_shortens_what_is_in_flight_and_never_lengthens_it(tmp_path: Path) -> None:
    """There is less time now than when the upload began."""

    async def scenario(seconds: float, directory: Path) -> float:
        it = uploader(sealed(directory), Stalls())
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0.1)
        it.hurry(Deadline(START + seconds))
        await drain
        return now()

    assert run(scenario(1.0, tmp_path / "a")) == pytest.approx(1.0)
    assert run(scenario(99.0, tmp_path / "b")) == pytest.approx(TIMEOUT)


def test_hurrying_holds_for_all_that_one_drain_uploads(tmp_path: Path) -> None:
    """The one in flight may end in time; then the next was begun as if there were time for it."""
    journal, sink = sealed(tmp_path), Takes(0.5)

    async def scenario() -> float:
        it = uploader(journal, sink)
        drain = asyncio.create_task(it.drain(FAR))
        await asyncio.sleep(0.1)
        it.hurry(Deadline(START + 0.7))
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
def test_an_attempt_that_was_frozen_in_the_middle_is_made_again(tmp_path: Path, frozen: float, bound: float) -> None:
    """A freeze says nothing about the sink: once more, and no breaker opens."""
    journal, sink = sealed(tmp_path, 1), IsFrozenInTheMiddle(frozen)

    async def scenario() -> None:
        it = uploader(journal, sink)
        await it.drain(Deadline(START + bound))
        assert it._breaker.failures == 0

    run(scenario())
    assert journal.sealed == ()
    assert len(sink.asked) == 2


def test_a_segment_that_is_gone_is_reported_and_the_others_are_shipped(tmp_path: Path) -> None:
    """Its loss is in the next object, and the sink was never to blame."""
    journal, sink = sealed(tmp_path), Takes()
    journal.sealed[1].path.unlink()

    async def scenario() -> None:
        it = uploader(journal, sink)
        await it.drain(FAR)
        journal.seal()
        await it.drain(FAR)
        assert it._breaker.failures == 0

    with capture_logs() as logs:
        run(scenario())
    assert sink.lines() == ["1 ", "3 "]
    assert [r["record"]["segment"] for r in sink.records() if r["type"] == "logferry.dropped"] == [2]
    assert len(said(logs, "error")) == 1


def test_a_segment_that_is_in_flight_while_the_spool_overflows_is_not_counted_as_lost(tmp_path: Path) -> None:
    """A slow sink and a flood: what arrives is not reported lost, and what is reported lost does not arrive."""
    journal = open_journal(tmp_path, limit_bytes=40_000)
    sink = Takes(1.0)

    async def scenario() -> None:
        it = uploader(journal, sink)
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


def test_an_upload_of_the_past_is_not_begun(tmp_path: Path) -> None:
    """After a thaw the deadline has passed: the event that comes next brings another."""
    journal, sink = sealed(tmp_path), Takes()

    async def scenario() -> None:
        deadline = Deadline(START + 1)
        freeze(100)
        await uploader(journal, sink).drain(deadline)

    run(scenario())
    assert sink.asked == []
