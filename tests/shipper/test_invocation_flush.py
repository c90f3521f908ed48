"""Tests of the flush at the end of an invocation: how long an invocation is extended, and when it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.shipper.invocation_flush import (
    PREVIOUS_END_WAIT_SECONDS,
    RUNTIME_DONE_MARGIN_SECONDS,
    UPLOAD_MARGIN_SECONDS,
)
from support.lifecycle_harness import ADAPTIVE, NEVER, NEXT_INVOCATION, UPLOAD_TIMEOUT, running_shipper
from support.sink_doubles import REMEDY, RejectingSink, StallingSink, StoringSink
from support.virtual_time import freeze, now, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


def test_invocation_is_not_extended_without_a_due_flush(tmp_path: Path) -> None:
    """No time and no request is spent."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            for n in range(50):
                number = it.invoke(f"r{n}")
                assert await it.done(number) == now() == n
                it.line("late")
                await asyncio.sleep(1)
            assert sink.requests == []

    run(scenario())


def test_due_flush_waits_for_the_end_of_its_own_invocation(tmp_path: Path) -> None:
    """Neither lines nor the end of another request start the upload; the object contains this invocation."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05)) as it:
            number = it.invoke("r1")
            it.starts("r1")
            await asyncio.sleep(3)
            it.line("one")
            it.runtime_done("another")
            await asyncio.sleep(4)
            assert sink.requests == []
            it.line("two")
            it.runtime_done("r1")
            assert await it.done(number) == 7.05
            assert sink.timings == [7.0]
            assert sink.lines() == ["one", "two"]
            assert it.in_flight_at_done == [0]

    run(scenario())


def test_invocation_sends_one_packet(tmp_path: Path) -> None:
    """A second packet for each object would wake the supervisor once more."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05)) as it:
            for n in range(3):
                await it.run_invocation(f"r{n}")
                await asyncio.sleep(1)
            assert len(sink.timings) == 3
            assert it.upload_reports == 0

    run(scenario())


def test_connection_is_opened_while_the_function_runs(tmp_path: Path) -> None:
    """The handshake is not billed. Without a due flush no connection is opened."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            sink.connects_in = 0.3
            number = it.invoke("r1")
            it.starts("r1")
            await asyncio.sleep(1)
            it.runtime_done("r1")
            assert await it.done(number) == 1.0
            assert sink.connected == [(0.0, 0.3)]
        async with running_shipper(tmp_path / "never", sink := StoringSink(), policy=NEVER) as it:
            await it.done(it.invoke("r1"))
            assert sink.connected == []

    run(scenario())


def test_upload_waits_for_the_pending_connection(tmp_path: Path) -> None:
    """A second connection would take as long and cost twice."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            sink.connects_in = 0.3
            number = it.invoke("r1")
            it.runtime_done("r1")
            assert await it.done(number) == 0.3
            assert sink.timings == [0.3]

    run(scenario())


def test_hanging_connection_costs_at_most_the_upload_timeout(tmp_path: Path) -> None:
    """The attempt is within the same limit, and nothing is in flight at DONE."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            sink.connects_in = 1000.0
            number = it.invoke("r1")
            it.runtime_done("r1")
            assert await it.done(number) == UPLOAD_TIMEOUT
            assert (sink.requests, it.uploader._first.put._connecting.done()) == ([], True)  # type: ignore[union-attr]

    run(scenario())


def test_end_that_arrived_before_the_event_is_not_waited_for(tmp_path: Path) -> None:
    """The runtimeDone of a short function may arrive before its INVOKE."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            it.starts("r1")
            it.runtime_done("r1")
            assert await it.done(it.invoke("r1")) == 0.0
            assert len(sink.requests) == 1

    run(scenario())


@pytest.mark.parametrize("seconds", [3.0, 60.0, 0.4])
def test_lost_runtime_done_extends_until_the_deadline_margin(tmp_path: Path, seconds: float) -> None:
    """The margin is enough for the upload, and a warning names the loss."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.01)) as it:
            number = it.invoke("r1", seconds=seconds)
            it.line("one")
            assert await it.done(number) == pytest.approx(max(0.0, seconds - RUNTIME_DONE_MARGIN_SECONDS) + 0.01)
            assert sink.lines() == ["one"]

    with capture_logs() as logs:
        run(scenario())
    assert ["did not arrive" in entry["event"] for entry in logs if entry["log_level"] == "warning"] == [True]


def test_stalled_upload_is_given_up_before_the_deadline(tmp_path: Path) -> None:
    """The function comes first; the records are uploaded with the next attempt."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StallingSink(times=1)) as it:
            number = it.invoke("r1", seconds=2.0)
            it.line("one")
            it.runtime_done("r1")
            assert await it.done(number) == 2.0 - UPLOAD_MARGIN_SECONDS
            assert it.in_flight_at_done == [0]
            await asyncio.sleep(10)
            await it.run_invocation("r2")
            assert sink.lines() == ["one", "of r2"]

    run(scenario())


def test_upload_timeout_limits_the_extension(tmp_path: Path) -> None:
    """A stalled S3 costs one timeout, not the fifteen minutes of the function."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StallingSink()) as it:
            number = it.invoke("r1", seconds=900)
            it.runtime_done("r1")
            assert await it.done(number) == UPLOAD_TIMEOUT

    run(scenario())


def test_invocations_cost_nothing_while_the_circuit_breaker_is_open(tmp_path: Path) -> None:
    """The first failure is paid once. All records are uploaded when the sink works again."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := RejectingSink(times=1)) as it:
            for n in range(100):
                assert await it.run_invocation(f"r{n}", runs=0.0) == 0.0
                await asyncio.sleep(1)
            assert len(sink.requests) == 1
            await asyncio.sleep(300)
            await it.run_invocation("last")
            assert len(sink.lines()) == 101
            assert set(it.in_flight_at_done) == {0}

    with capture_logs() as logs:
        run(scenario())
    assert sum(REMEDY in str(entry) for entry in logs if entry["log_level"] != "debug") == 1


def test_every_tenth_invocation_is_extended_for_ten(tmp_path: Path) -> None:
    """With LOGFERRY_FLUSH_INVOCATIONS=10, nine invocations are free and the tenth uploads all ten."""
    policy = Policy(Flush.INVOCATION, Timing.POST_EXECUTION, Thresholds(invocations=10))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=policy) as it:
            costs = [await it.run_invocation(f"r{n}") for n in range(20)]
            assert [n for n, cost in enumerate(costs) if cost] == [9, 19]
            assert len(sink.objects) == 2
            assert sink.lines() == [f"of r{n}" for n in range(20)]

    run(scenario())


def test_next_invocation_uploads_the_previous_one(tmp_path: Path) -> None:
    """DONE follows the upload; the object contains the complete previous invocation and not this one."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05), policy=NEXT_INVOCATION) as it:
            assert await it.done(it.invoke("r1")) == 0.0
            it.starts("r1")
            it.line("one")
            it.runtime_done("r1")
            await asyncio.sleep(1)
            number = it.invoke("r2")
            it.starts("r2")
            assert await it.done(number) == 1.05
            assert sink.lines() == ["one"]
            assert it.in_flight_at_done == [0, 0]

    run(scenario())


def test_next_invocation_waits_briefly_for_the_end_of_the_previous_one(tmp_path: Path) -> None:
    """The last records were in delivery at the freeze. They arrive now, or the wait ends."""

    async def scenario(*, comes: bool) -> float:
        async with running_shipper(tmp_path / str(comes), sink := StoringSink(), policy=NEXT_INVOCATION) as it:
            await it.done(it.invoke("r1"))
            it.starts("r1")
            it.line("one")
            freeze(100)
            number = it.invoke("r2")
            if comes:
                await asyncio.sleep(0.02)
                it.line("two")
                it.runtime_done("r1")
            timing = await it.done(number) - 100
            assert sink.lines() == (["one", "two"] if comes else ["one"])
            return timing

    assert run(scenario(comes=True)) == pytest.approx(0.02)
    assert run(scenario(comes=False)) == pytest.approx(PREVIOUS_END_WAIT_SECONDS)


def test_adaptive_policy_flushes_the_first_invocation_and_then_follows_the_pace(tmp_path: Path) -> None:
    """A single invocation is stored at its end, a burst shares objects, and after a pause each is stored again."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=ADAPTIVE) as it:
            assert await it.run_invocation("first") > 0
            burst = []
            for n in range(300):
                burst.append(await it.run_invocation(f"r{n}", runs=0.2))
                await asyncio.sleep(0.2)
            assert len(sink.objects) < 10
            assert sum(cost > 0 for cost in burst) <= 2, "a burst pays nothing"
            for n in range(6):
                await asyncio.sleep(600)
                await it.run_invocation(f"late{n}")
            assert "of late5" in sink.lines()
            assert set(it.in_flight_at_done) == {0}

    run(scenario())


def test_invocation_without_an_id_is_not_waited_for(tmp_path: Path) -> None:
    """No record shows the end of such an invocation."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StoringSink(0.02)) as it:
            it.line("one")
            assert await it.done(it.invoke("")) == 0.02

    run(scenario())
