"""Cancellation of every await: no record is lost, no segment is removed early, no lock stays held.

A coroutine is cancelled after a number of steps of the event loop, at several times of a scenario.
Then another one continues, as the next shipper would, and every record must be stored once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.flush.circuit_breaker import CircuitBreaker
from logferry.flush.uploader import Uploader
from logferry.listener import admission
from logferry.listener.server import listening
from support.http_post import request
from support.journal_harness import close, numbered, open_journal
from support.lifecycle_harness import UPLOAD_TIMEOUT, ShipperHarness, as_object, running_shipper
from support.sink_doubles import ResetAfterStoringSink, StallingSink, StoringSink, ThrottlingSink
from support.virtual_time import START, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logferry.flush.policy import Policy

pytestmark = pytest.mark.timeout(90)

FAR = Deadline(START + 1e6)
STEPS = 8
"""Number of steps of the event loop after each time below. No await of a scenario takes more steps."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


async def steps(count: int) -> None:
    """Let the other tasks run for some steps."""
    for _ in range(count):
        await asyncio.sleep(0)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("timing", [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, UPLOAD_TIMEOUT, UPLOAD_TIMEOUT + 0.5])
@pytest.mark.parametrize("sink_kind", [StoringSink, ThrottlingSink, StallingSink, ResetAfterStoringSink])
def test_cancelled_upload_is_completed_by_the_next(tmp_path: Path, sink_kind: type[StoringSink], timing: float) -> None:
    """A segment is in the journal or in the sink, and in the end in the sink, once."""
    for count in range(STEPS):
        journal = open_journal(tmp_path / str(count))
        for n in (1, 2, 3):
            journal.append(numbered(n))
            journal.seal()
        sink = StoringSink(0.5) if sink_kind is StoringSink else sink_kind(1)

        async def scenario(journal: object = journal, sink: StoringSink = sink, count: int = count) -> None:
            it = Uploader(
                journal=journal,  # type: ignore[arg-type]  # bound early
                sink=sink,
                encode=as_object,
                timeout_seconds=UPLOAD_TIMEOUT,
                breaker=CircuitBreaker(jitter=lambda: 0.5),
            )
            drain = asyncio.create_task(it.drain(FAR))
            await asyncio.sleep(timing)
            await steps(count)
            await cancel(drain)
            stored = {line.split()[0] for line in sink.lines()}
            waiting = {str(segment.number) for segment in it.backlog}
            assert stored | waiting == {"1", "2", "3"}
            assert sink.in_flight == 0
            while it.backlog:
                await it.drain(FAR, force=True)

        run(scenario())
        assert sorted(sink.lines()) == ["1 ", "2 ", "3 "]
        close(journal)


async def some_invocations(it: ShipperHarness, names: str) -> None:
    """Play four invocations with lines, whether a shipper listens or not."""
    for n in range(4):
        request_id = f"{names}{n}"
        it.invoke(request_id, seconds=20)
        it.starts(request_id)
        it.line(f"{request_id} begins")
        await asyncio.sleep(0.5)
        it.line(f"{request_id} ends")
        it.runtime_done(request_id)
        await asyncio.sleep(0.5)
        it.report(request_id)


TIMES = [0.0, 0.25, 0.5, 0.6, 1.0, 1.5, 2.0, 3.05, 3.9]


@pytest.mark.parametrize("next_invocation", [False, True])
@pytest.mark.parametrize("timing", TIMES)
def test_cancelled_shipper_loses_and_duplicates_no_record(
    tmp_path: Path, timing: float, *, next_invocation: bool
) -> None:
    """The next shipper recovers the journal and uploads the rest."""
    from support.lifecycle_harness import INVOCATION, NEXT_INVOCATION  # noqa: PLC0415 - named where they are chosen

    policy: Policy = NEXT_INVOCATION if next_invocation else INVOCATION
    for count in range(STEPS):
        directory = tmp_path / str(count)
        sink = StoringSink(0.1)

        async def scenario(directory: Path = directory, sink: StoringSink = sink, count: int = count) -> list[str]:
            accepted = [f"a{n} {what}" for n in range(4) for what in ("begins", "ends")]
            async with running_shipper(directory, sink, policy=policy) as it:
                playing = asyncio.create_task(some_invocations(it, "a"))
                await asyncio.sleep(timing)
                await steps(count)
                working = next(t for t in asyncio.all_tasks() if "Lifecycle.run" in repr(t.get_coro()))
                await cancel(working)
                assert sink.in_flight == 0
                await playing
            async with running_shipper(directory, sink, policy=policy, environment="e2") as it:
                await it.done(it.shut_down())
                assert it.uploader.backlog == ()
            return accepted

        accepted = run(scenario())
        assert sorted(sink.lines()) == sorted(accepted)


@pytest.mark.parametrize("timing", [0.0, 0.1, 0.3, 0.4, 1.0, 1.7])
@pytest.mark.parametrize("sink_kind", [StoringSink, StallingSink])
def test_cancelled_shutdown_is_completed_by_the_next_shipper(
    tmp_path: Path, sink_kind: type[StoringSink], timing: float
) -> None:
    """A SIGKILL after 2,000 ms has the effect of a cancellation."""
    for count in range(STEPS):
        directory = tmp_path / str(count)

        async def scenario(directory: Path = directory, count: int = count) -> None:
            sink = StoringSink(0.1) if sink_kind is StoringSink else StallingSink(times=1)
            async with running_shipper(directory, sink) as it:
                it.line("one")
                it.journal.seal()
                it.line("two")
                it.starts("r1")
                it.shut_down()
                await asyncio.sleep(timing)
                await steps(count)
                working = [t for t in asyncio.all_tasks() if "Lifecycle.run" in repr(t.get_coro())]
                for task in working:
                    await cancel(task)
            async with running_shipper(directory, sink, environment="e2") as it:
                await it.done(it.shut_down())
            assert sink.lines() == ["one", "two"]

        run(scenario())


async def test_cancelled_listener_has_stored_every_batch_with_a_200(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no 200 without the append. After an append without 200 the platform delivers the batch again."""
    monkeypatch.setattr(admission, "READ_SECONDS", 0.05)
    raw = request(b"delivery")
    outcomes = set()
    for whole, count in itertools.product((True, False), range(15)):
        stored: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket() as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            async with listening(sock.dup(), stored.append):
                await loop.sock_connect(client, sock.getsockname())
                await loop.sock_sendall(client, raw if whole else raw[:-3])
                await steps(count)
            sock.close()  # otherwise a connection in its backlog would stay open
            try:
                answer = await asyncio.wait_for(loop.sock_recv(client, 4096), 5)
            except ConnectionResetError:
                answer = b""
        assert stored in ([], [b"delivery"])
        if answer.startswith(b"HTTP/1.1 200"):
            assert stored == [b"delivery"]
        if not whole:
            assert stored == []
        outcomes.add((bool(answer), len(stored)))
    assert (True, 1) in outcomes
    assert (False, 0) in outcomes
