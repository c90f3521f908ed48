"""Tests of the Shutdown phase: late records, retries, and the deadline."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.errors import JournalFull
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.shipper.shutdown_flush import (
    LAST_REPORT_SECONDS,
    LAST_UPLOAD_MARGIN_SECONDS,
    LEAST_UPLOAD_SECONDS,
    QUIET_SECONDS,
)
from support.lifecycle_harness import ADAPTIVE, INVOCATION, NEVER, NEXT_INVOCATION, running_shipper
from support.sink_doubles import RejectingObjectsSink, StallingSink, StoringSink, ThrottlingSink
from support.virtual_time import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("policy", [INVOCATION, NEXT_INVOCATION, ADAPTIVE, NEVER])
def test_shutdown_uploads_everything_under_every_policy(tmp_path: Path, policy: Policy) -> None:
    """The last object is marked as final."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=policy) as it:
            for n in range(3):
                await it.run_invocation(f"r{n}")
                it.report(f"r{n}")
            await it.done(it.shut_down())
            assert sink.lines() == [f"of r{n}" for n in range(3)]
            finals = [o.metadata.get("final") for _, o in sorted(sink.objects.items())]
            assert finals == [None] * (len(finals) - 1) + ["true"]
            assert it.in_flight_at_done[-1] == 0

    run(scenario())


def test_shutdown_waits_for_the_last_report_within_its_limit(tmp_path: Path) -> None:
    """A report that arrives in time is stored; a lost report costs the limit."""

    async def scenario(report_after: float | None) -> tuple[float, int]:
        async with running_shipper(tmp_path / str(report_after), sink := StoringSink(), policy=NEVER) as it:
            await it.run_invocation("r1", runs=1.0)
            if report_after == 0.0:
                it.report("r1")
            number = it.shut_down()
            if report_after:
                await asyncio.sleep(report_after)
                it.report("r1")
            timing = await it.done(number) - 1.0
            return round(timing, 3), sum(r["type"] == "platform.report" for r in sink.records())

    assert run(scenario(0.0)) == (QUIET_SECONDS, 1)
    assert run(scenario(0.1)) == (0.1 + QUIET_SECONDS, 1)
    assert run(scenario(None)) == (LAST_REPORT_SECONDS, 0)


def test_shutdown_uploads_with_an_open_circuit_breaker(tmp_path: Path) -> None:
    """The Shutdown phase is the last chance of this environment."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := ThrottlingSink(times=1)) as it:
            await it.run_invocation("r1")
            it.report("r1")
            await it.done(it.shut_down())
            assert len(sink.requests) == 3
            assert sink.lines() == ["of r1"]

    run(scenario())


def test_shutdown_ends_in_time_with_a_stalled_sink(tmp_path: Path) -> None:
    """2,000 ms are available; one message counts the records that stay in the spool."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StallingSink(), policy=NEVER) as it:
            await it.run_invocation("r1", runs=0.0)
            it.report("r1")
            assert await it.done(it.shut_down()) == 2.0 - LAST_UPLOAD_MARGIN_SECONDS
            assert it.in_flight_at_done[-1] == 0
            assert len(it.uploader.backlog) == 1

    with capture_logs() as logs:
        run(scenario())
    assert any("not all records" in entry["event"] for entry in logs)


def test_last_message_counts_the_rejected_segments(tmp_path: Path) -> None:
    """More time would not help, so the deadline is not the reason."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := RejectingObjectsSink(1)) as it:
            for n in range(2):
                await it.run_invocation(f"r{n}")
                it.report(f"r{n}")
            await it.done(it.shut_down())
            assert sink.lines() == ["of r1"]

    with capture_logs() as logs:
        run(scenario())
    last = next(entry for entry in logs if "not all records" in entry["event"])
    assert (last["segments"], last["rejected_segments"]) == (1, 1)


def test_upload_that_hangs_since_before_leaves_time_for_another(tmp_path: Path) -> None:
    """Half of the remaining time belongs to the old upload, half to a last attempt."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=1.0))

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StallingSink(times=1), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            it.line("one")
            await asyncio.sleep(1.5)
            assert sink.in_flight == 1
            assert await it.done(it.shut_down()) < 1.5 + 2.0 - LAST_UPLOAD_MARGIN_SECONDS
            assert sink.lines() == ["one"]

    run(scenario())


def test_batch_after_done_is_refused(tmp_path: Path) -> None:
    """Its records could not be uploaded, so the response must not be 200."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StoringSink()) as it:
            await it.done(it.shut_down())
            with pytest.raises(Exception, match="shutting down"):
                it.line("too late")

    run(scenario())


def test_shutdown_accepts_records_until_the_stream_is_quiet(tmp_path: Path) -> None:
    """Lines of a SIGTERM handler, each within one buffer interval of the last, are stored in one object."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=NEVER) as it:
            await it.run_invocation("r1")
            it.report("r1")
            number = it.shut_down()
            for n in range(10):
                await asyncio.sleep(0.025)
                it.line(f"late {n}")
            await it.done(number)
            assert sink.lines() == ["of r1", *(f"late {n}" for n in range(10))]
            assert len(sink.objects) == 1

    run(scenario())


def test_shutdown_stores_records_that_arrive_during_the_last_upload(tmp_path: Path) -> None:
    """One more object contains them, and nothing is refused."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.15), policy=NEVER) as it:
            await it.run_invocation("r1")
            it.report("r1")
            number = it.shut_down()
            await asyncio.sleep(QUIET_SECONDS + 0.01)
            assert sink.in_flight == 1
            for n in range(50):
                it.line(f"late {n}")
            await it.done(number)
            assert sink.lines() == ["of r1", *(f"late {n}" for n in range(50))]
            assert len(sink.objects) == 2
            assert it.uploader.backlog == ()
            assert it.intake.refused.batches == 0

    run(scenario())


def test_shutdown_uploads_although_the_stream_never_becomes_quiet(tmp_path: Path) -> None:
    """Only the deadline closes the listener, and the upload has its share of the time."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(0.02), policy=NEVER) as it:
            number = it.shut_down()
            done = asyncio.create_task(it.done(number))
            accepted = 0
            with contextlib.suppress(JournalFull):
                while not done.done():
                    it.line(f"{accepted}")
                    accepted += 1
                    await asyncio.sleep(0.01)
            assert await done <= 2.0 - LAST_UPLOAD_MARGIN_SECONDS
            assert it.uploader.backlog == ()
            assert sink.lines() == [str(n) for n in range(len(sink.lines()))]
            assert accepted - len(sink.lines()) <= 100 * LEAST_UPLOAD_SECONDS

    run(scenario())


def test_shutdown_without_records_stores_nothing(tmp_path: Path) -> None:
    """An environment without a record leaves no object."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            await it.done(it.shut_down())
            assert sink.requests == []

    run(scenario())
