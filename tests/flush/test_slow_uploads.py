"""Objects that do not fit into the upload timeout: they are stored in the end, and the others do not wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.flush import target as target_module
from support.journal_harness import numbered
from support.sink_doubles import SlowSink, StallingSink
from support.uploader_harness import FAR, TIMEOUT, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, now, run

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.flush.uploader import Uploader


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode large segments in the event loop, because virtual time does not wait for threads."""
    monkeypatch.setattr(target_module, "INLINE_BYTES", 1_000_000_000)


async def hold(uploader: Uploader, *, seconds: float = 900.0) -> float:
    """Drain as an invocation of a long function timeout does; return for how long it was held."""
    began = now()
    if uploader.has_ready_segment():
        await uploader.drain(uploader.hold_deadline(Deadline(START + began + seconds)))
    return now() - began


def test_large_object_is_stored_after_timeouts_and_the_others_do_not_wait(tmp_path: Path) -> None:
    """A burst of 4.5 MB needs 11 s at 400 kB/s. The segments behind it need milliseconds."""
    journal, sink = sealed_journal(tmp_path, 4_500_000, 0, 0), SlowSink(400_000)
    held: list[float] = []

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        held.append(await hold(uploader))
        await asyncio.sleep(1.0)
        held.append(await hold(uploader))

    run(scenario())
    assert journal.sealed == ()
    assert [int(key.removesuffix(".ndjson.gz")[-8:]) for _, key in sink.requests] == [1, 2, 3, 1]
    assert held == pytest.approx([TIMEOUT, 4_500_000 / 400_000], abs=0.1)


def test_large_object_is_stored_at_once_outside_a_held_invocation(tmp_path: Path) -> None:
    """The limit grows with the size from the first attempt on, if no invocation is extended."""
    journal, sink = sealed_journal(tmp_path, 4_500_000), SlowSink(400_000)

    async def scenario() -> None:
        await new_uploader(journal, sink).drain(FAR)

    run(scenario())
    assert journal.sealed == ()
    assert len(sink.requests) == 1


def test_object_that_never_fits_into_the_deadline_holds_few_invocations(tmp_path: Path) -> None:
    """A function timeout of 3 s is too short for the object; the invocations after it must not pay each time."""
    journal, sink = sealed_journal(tmp_path, 4_500_000), SlowSink(400_000)
    held: list[float] = []

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        for n in range(2, 62):
            held.append(await hold(uploader, seconds=2.8))
            journal.append(numbered(n))
            journal.seal()
            await asyncio.sleep(1.0)

    run(scenario())
    assert numbers(journal) == [1, 61]
    assert len([seconds for seconds in held if seconds > 1.0]) <= 7
    assert max(held) == pytest.approx(2.8, abs=0.01)


def test_timeout_message_of_a_large_object_has_the_remedy_once(tmp_path: Path) -> None:
    """The user can make objects smaller or allow more time."""
    journal, sink = sealed_journal(tmp_path, 4_500_000), SlowSink(40_000)

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        for _ in range(3):
            await hold(uploader)
            await asyncio.sleep(60.0)

    with capture_logs() as logs:
        run(scenario())
    assert len(sink.requests) == 3
    (warning,) = logged(logs)
    assert "bytes) was not stored within 5.0 s" in warning
    assert "LOGFERRY_FLUSH_BYTES" in warning
    assert "LOGFERRY_UPLOAD_TIMEOUT" in warning


def test_stalled_sink_holds_an_invocation_for_one_upload_timeout(tmp_path: Path) -> None:
    """Without any response the new, small segments are tried first, so a large one does not extend invocations."""
    journal, sink = sealed_journal(tmp_path, 4_500_000), StallingSink()
    held: list[float] = []

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        for n in range(2, 12):
            held.append(await hold(uploader))
            journal.append(numbered(n))
            journal.seal()
            await asyncio.sleep(60.0)

    run(scenario())
    assert held == pytest.approx([TIMEOUT] * len(held))
    assert len(sink.requests) == len(held)


def test_large_object_is_last_at_shutdown(tmp_path: Path) -> None:
    """The Shutdown phase must not be spent on an object that did not fit before."""
    journal, sink = sealed_journal(tmp_path, 4_500_000, 0, 0), SlowSink(400_000)

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        await hold(uploader)
        await uploader.drain(Deadline(START + now() + 1.75), force=True)

    run(scenario())
    assert numbers(journal) == [1]
