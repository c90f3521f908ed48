"""Freezes of the execution environment during an upload: the invocation after the thaw does not wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from logferry.deadline import Deadline
from logferry.flush.freeze_watch import LATE_SECONDS, TICK_SECONDS, FreezeWatch
from support.journal_harness import numbered
from support.sink_doubles import StallingSink, StoringSink
from support.uploader_harness import FAR, TIMEOUT, new_uploader, numbers, sealed_journal
from support.virtual_time import START, freeze, now, run

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.records.model import StoredObject


class FrozenConnectionSink(StoringSink):
    """A sink whose first connection does not survive a freeze that the test makes."""

    async def put(self, stored: StoredObject) -> None:
        """Block the first time, store afterwards."""
        with self._request(stored):
            if len(self.requests) == 1:
                await asyncio.Event().wait()
            await asyncio.sleep(self.seconds)
            self.objects[stored.key] = stored


@pytest.mark.parametrize("frozen", [LATE_SECONDS + TICK_SECONDS, 3.0, 60.0, 3600.0])
def test_uploader_repeats_a_frozen_upload_at_once_after_the_thaw(tmp_path: Path, frozen: float) -> None:
    """A freeze shorter than the limit used to extend the next invocation by the rest of the limit."""
    journal, sink = sealed_journal(tmp_path, 0), FrozenConnectionSink(0.05)

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        drain = asyncio.create_task(uploader.drain(FAR))
        await asyncio.sleep(0.2)
        freeze(frozen)
        thawed = now()
        assert await drain == 1
        assert now() - thawed == pytest.approx(0.05)
        assert uploader.attempt_allowed()

    run(scenario())
    assert len(sink.requests) == 2


def test_repeated_upload_keeps_the_deadline_of_the_event_after_the_thaw(tmp_path: Path) -> None:
    """The deadline of the drain is from before the freeze; the next event brings the one that counts."""
    journal, sink = sealed_journal(tmp_path, 0), FrozenConnectionSink(100.0)

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        drain = asyncio.create_task(uploader.drain(Deadline(START + 60)))
        await asyncio.sleep(0.2)
        freeze(3600.0)
        thawed = now()
        uploader.shorten_deadline(Deadline(START + thawed + 1.0))
        assert await drain == 0
        assert now() - thawed == pytest.approx(1.0)

    run(scenario())
    assert len(sink.requests) == 2
    assert sink.in_flight == 0


def test_deadline_may_be_shortened_in_the_step_after_the_thaw(tmp_path: Path) -> None:
    """The upload's timeout has expired then and cannot be changed, which must not end the shipper."""
    journal, sink = sealed_journal(tmp_path, 0), FrozenConnectionSink(0.05)

    async def scenario() -> None:
        for steps in range(6):
            uploader = new_uploader(journal, sink)
            sink.requests.clear()
            drain = asyncio.create_task(uploader.drain(FAR))
            await asyncio.sleep(0.2)
            freeze(60.0)
            for _ in range(steps):
                await asyncio.sleep(0)
            uploader.shorten_deadline(Deadline(START + now() + 1.0))
            assert await drain == 1
            journal.append(numbered(steps + 2))
            journal.seal()

    run(scenario())


def test_uploader_repeats_a_frozen_upload_once(tmp_path: Path) -> None:
    """A second freeze counts as a failure, so that a drain ends."""
    journal, sink = sealed_journal(tmp_path, 0), StallingSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        drain = asyncio.create_task(uploader.drain(FAR))
        for _ in range(2):
            await asyncio.sleep(0.2)
            freeze(60.0)
        assert await drain == 0
        assert not uploader.attempt_allowed()

    run(scenario())
    assert len(sink.requests) == 2
    assert numbers(journal) == [1]


def test_freeze_watch_ignores_a_busy_machine(tmp_path: Path) -> None:
    """A timer that is somewhat late shows no freeze, and no upload is repeated."""
    journal, sink = sealed_journal(tmp_path, 0), StoringSink(4.0)

    async def scenario() -> None:
        drain = asyncio.create_task(new_uploader(journal, sink).drain(FAR))
        for _ in range(3):
            await asyncio.sleep(0.7)
            freeze(LATE_SECONDS - 0.4)
        assert await drain == 1

    run(scenario())
    assert len(sink.requests) == 1


def test_freeze_watch_calls_back_after_each_freeze_and_not_after_its_end() -> None:
    """The watch costs nothing while no upload is in flight."""
    thaws: list[float] = []

    async def scenario() -> None:
        with FreezeWatch(lambda: thaws.append(now())):
            await asyncio.sleep(2.1)
            freeze(10.0)
            await asyncio.sleep(2.1)
            freeze(100.0)
            await asyncio.sleep(0.1)
        freeze(1000.0)
        await asyncio.sleep(0.1)

    run(scenario())
    assert thaws == pytest.approx([12.1, 114.2])


def test_uploader_cancels_a_pending_connection_when_a_new_one_is_requested(tmp_path: Path) -> None:
    """An upload must not wait for a connection attempt of an earlier invocation."""
    journal, sink = sealed_journal(tmp_path, 0), StoringSink()
    sink.connects_in = 1000.0

    async def scenario() -> float:
        uploader = new_uploader(journal, sink)
        uploader.connect()
        await asyncio.sleep(0.1)
        sink.connects_in = 0.2
        uploader.connect()
        await uploader.drain(FAR)
        return now()

    assert run(scenario()) == pytest.approx(0.3)
    assert sink.connected == [(0.1, 0.3)]


def test_uploader_does_not_wait_for_a_cancelled_connection(tmp_path: Path) -> None:
    """No connection attempt is in flight at a freeze, and the next upload opens its own connection."""
    journal, sink = sealed_journal(tmp_path, 0), StoringSink()
    sink.connects_in = 1000.0

    async def scenario() -> float:
        uploader = new_uploader(journal, sink)
        uploader.connect()
        await asyncio.sleep(0.1)
        uploader.cancel_connect()
        await uploader.drain(FAR)
        return now()

    assert run(scenario()) == pytest.approx(0.1)
    assert sink.connected == []


def test_uploader_limits_the_wait_for_a_connection_by_the_upload_timeout(tmp_path: Path) -> None:
    """A connection attempt that stalls must not extend the limit of the upload."""
    journal, sink = sealed_journal(tmp_path, 0), StoringSink()
    sink.connects_in = 1000.0

    async def scenario() -> float:
        uploader = new_uploader(journal, sink)
        uploader.connect()
        await uploader.drain(FAR)
        uploader.cancel_connect()
        return now()

    assert run(scenario()) == pytest.approx(TIMEOUT)
    assert numbers(journal) == [1]
