"""Tests of the order of events, of pings, and of the end of the process."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from logferry import ipc
from support.lifecycle_harness import NEVER, running_shipper
from support.sink_doubles import StallingSink, StoringSink
from support.virtual_time import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


def test_ping_is_answered_while_an_upload_stalls(tmp_path: Path) -> None:
    """A slow shipper is not a hung shipper."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StallingSink()) as it:
            number = it.invoke("r1")
            it.runtime_done("r1")
            await asyncio.sleep(1)
            it.supervisor.send(ipc.PING)
            assert await it.next_packet() == (ipc.PONG, 1.0)
            await it.done(number)

    run(scenario())


def test_lifecycle_ends_with_its_supervisor(tmp_path: Path) -> None:
    """Pending records stay on disk."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StoringSink(), policy=NEVER) as it:
            it.line("one")
            it.supervisor.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0.1)
            assert not any("Lifecycle.run" in repr(task) for task in asyncio.all_tasks())
            assert it.journal.waiting_bytes

    run(scenario())


@pytest.mark.parametrize(("running", "expected"), [(True, 3.0), (False, 0.0)])
def test_repeated_event_waits_only_for_a_running_invocation(tmp_path: Path, *, running: bool, expected: float) -> None:
    """The shipper that ended may have received its runtimeDone; then no other would arrive."""

    async def scenario() -> float:
        async with running_shipper(tmp_path, StoringSink()) as it:
            if running:
                it.starts("r1")
            number = it.invoke("r1", again=True)
            await asyncio.sleep(3)
            it.runtime_done("r1")
            return await it.done(number)

    assert run(scenario()) == expected


def test_second_event_is_handled_after_the_first(tmp_path: Path) -> None:
    """The supervisor sends it early only if it gave up the first."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            first, second = it.invoke("r1", seconds=5), it.invoke("r2", seconds=5)
            it.runtime_done("r2")
            await asyncio.sleep(1)
            it.runtime_done("r1")
            assert await it.done(first) == 1.0
            assert await it.done(second) == 1.0
            assert sink.most_in_flight == 1

    run(scenario())
