"""Tests of flushes while the environment runs: age and size in long invocations, freezes, Managed Instances."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.shipper.invocation_flush import (
    CANCEL_MARGIN_SECONDS,
    UPLOAD_MARGIN_SECONDS,
)
from support.lifecycle_harness import ShipperHarness, running_shipper
from support.sink_doubles import FreezingSink, StallingSink, StoringSink, ThrottlingSink
from support.virtual_time import freeze, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


def test_age_flushes_inside_a_long_invocation(tmp_path: Path) -> None:
    """The time policy does not wait for the end of a function that runs for minutes."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            await asyncio.sleep(4)
            it.line("one")
            await asyncio.sleep(26)
            assert sink.timings == [10.0]
            it.line("two")
            await asyncio.sleep(11)
            assert sink.timings == [10.0, 40.0]
            assert sink.lines() == ["one", "two"]
            assert it.upload_reports == 2, "the supervisor is to know that this one works"

    run(scenario())


def test_size_flushes_inside_a_long_invocation(tmp_path: Path) -> None:
    """Many records are not kept until the end of the function."""
    policy = Policy(Flush.INVOCATION, Timing.POST_EXECUTION, Thresholds(size=10_000))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05), policy=policy) as it:
            number = it.invoke("r1", seconds=900)
            it.starts("r1")
            for n in range(40):
                it.line(f"{n} " + "x" * 1000)
                await asyncio.sleep(0.2)
            assert len(sink.objects) >= 3
            it.runtime_done("r1")
            await it.done(number)
            assert [line.split()[0] for line in sink.lines()] == [str(n) for n in range(40)]
            assert it.in_flight_at_done == [0]

    run(scenario())


def test_records_that_were_large_at_invoke_are_uploaded_once_in_post_execution(tmp_path: Path) -> None:
    """They are not uploaded while the invocation runs; only further records that become large are."""
    large = Policy(Flush.SIZE, Timing.POST_EXECUTION, Thresholds(size=2000))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=large) as it:
            await it.done(it.invoke("r1"))
            it.line("x" * 3000)
            number = it.invoke("r2")
            it.line("inside")
            await asyncio.sleep(1)
            assert sink.requests == []
            it.runtime_done("r2")
            await it.done(number)
            assert [len(line) for line in sink.lines()] == [3000, 6]
            assert len(sink.objects) == 1
            it.line("x" * 3000)
            it.invoke("r3")
            await asyncio.sleep(1)
            it.line("y" * 3000)
            await asyncio.sleep(1)
            assert len(sink.objects) == 2

    run(scenario())


def test_flush_that_failed_is_due_again_with_the_next_invocation(tmp_path: Path) -> None:
    """An announced flush that failed does not wait for its age once more."""
    half_a_second = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=0.5))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := ThrottlingSink(times=1), policy=half_a_second) as it:

            async def invocation(name: str, *, then: float) -> None:
                number = it.invoke(name)
                it.line(name)
                it.runtime_done(name)
                await it.done(number)
                await asyncio.sleep(then)

            await invocation("not due yet", then=0.6)
            await invocation("fails, and the breaker opens for a second", then=0.0)
            await invocation("not due yet", then=0.6)
            await invocation("due, and the breaker is open", then=0.45)
            await invocation("due", then=0.0)
            assert len(sink.lines()) == 5

    run(scenario())


async def upload_begun_by_time(it: ShipperHarness) -> None:
    """Let an invocation run until its age has started an upload, and end just then, at 10.2 s."""
    await it.done(it.invoke("r1", seconds=900))
    it.starts("r1")
    await asyncio.sleep(10.2)
    assert it.sink.in_flight == 1
    it.runtime_done("r1")


def test_done_waits_for_an_upload_that_age_started(tmp_path: Path) -> None:
    """An invocation without a due flush must not let the environment freeze during an upload."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, StoringSink(0.5), policy=policy) as it:
            await upload_begun_by_time(it)
            assert await it.done(it.invoke("r2", seconds=900)) == 10.5
            assert it.in_flight_at_done == [0, 0]

    run(scenario())


def test_upload_that_age_started_is_cancelled_before_the_deadline(tmp_path: Path) -> None:
    """No upload is in flight at DONE, however short the invocation is; the upload is repeated later."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StallingSink(times=1), policy=policy) as it:
            it.line("one")
            await upload_begun_by_time(it)
            assert await it.done(it.invoke("r2", seconds=1.0)) == 11.2 - UPLOAD_MARGIN_SECONDS - CANCEL_MARGIN_SECONDS
            assert it.in_flight_at_done == [0, 0]
            await it.done(it.shut_down())
            assert sink.lines() == ["one"]

    with capture_logs() as logs:
        run(scenario())
    assert any("an upload failed" in entry["event"] for entry in logs)


def test_records_delivered_after_a_freeze_are_as_old_as_their_invocation(tmp_path: Path) -> None:
    """They were in delivery at the freeze, so the next invocation uploads them."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=policy) as it:
            await it.done(it.invoke("r1"))
            freeze(3600)
            number = it.invoke("r2")
            await asyncio.sleep(0.01)
            it.starts("r1")
            it.line("of r1")
            it.runtime_done("r1")
            it.starts("r2")
            it.line("of r2")
            await asyncio.sleep(1)
            it.runtime_done("r2")
            await it.done(number)
            assert sink.lines() == ["of r1", "of r2"]
            assert len(sink.requests) == 1

    run(scenario())


def test_records_that_aged_in_a_freeze_wait_for_the_next_invocation(tmp_path: Path) -> None:
    """After a thaw the event decides: one object contains that invocation too."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=policy) as it:
            await it.run_invocation("r1")
            assert sink.requests == []
            freeze(3600)
            assert await it.run_invocation("r2") == 0.02
            assert len(sink.requests) == 1
            assert sink.lines() == ["of r1", "of r2"]

    run(scenario())


def test_a_start_that_overtakes_its_event_makes_no_flush_due(tmp_path: Path) -> None:
    """On a busy machine `platform.start` arrives before the INVOKE that ended the freeze."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=policy) as it:
            await it.run_invocation("r1")
            freeze(30)
            await asyncio.sleep(0.01)
            it.starts("r2")
            await asyncio.sleep(0.1)
            number = it.invoke("r2")
            it.line("of r2")
            it.runtime_done("r2")
            await it.done(number)
            assert len(sink.requests) == 1
            assert sink.lines() == ["of r1", "of r2"]

    run(scenario())


def test_upload_that_was_frozen_is_repeated_after_the_thaw(tmp_path: Path) -> None:
    """No record is lost or stored twice, and the circuit breaker does not count the failure."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := FreezingSink(3600.0), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            it.line("one")
            await asyncio.sleep(10)
            await it.run_invocation("r2")
            await it.done(it.shut_down())
            assert sink.lines() == ["one", "of r2"]
            assert it.uploader.backlog == ()

    run(scenario())


def test_managed_instances_flush_by_reports_and_age(tmp_path: Path) -> None:
    """No INVOKE arrives, so reports, age and SHUTDOWN cause the flushes."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(invocations=3, seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.05), policy=policy, managed=True) as it:
            for n in range(3):
                it.starts(f"r{n}")
                it.line(f"{n}")
            for n in range(3):
                it.report(f"r{n}")
            await asyncio.sleep(0.1)
            assert sink.lines() == ["0", "1", "2"]
            it.line("alone")
            await asyncio.sleep(11)
            assert sink.lines() == ["0", "1", "2", "alone"]
            it.line("at the end")
            await it.done(it.shut_down())
            assert sink.lines()[-1] == "at the end"
            assert not any("requestId" in r for r in sink.records() if r["type"] == "function")

    run(scenario())


def test_managed_instances_retry_a_failed_upload_without_an_event(tmp_path: Path) -> None:
    """The circuit breaker's next attempt needs no batch."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := ThrottlingSink(times=2), policy=policy, managed=True) as it:
            it.line("one")
            await asyncio.sleep(20)
            assert sink.lines() == ["one"]
            assert len(sink.requests) == 3

    run(scenario())
