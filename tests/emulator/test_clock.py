"""The platform clock: times in records, idle periods, and the clock of the processes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from logferry.emulator.clock import PlatformClock
from logferry.emulator.lambda_service import Lambda
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path

BEFORE_MIDNIGHT = datetime(2031, 2, 28, 23, 50, tzinfo=UTC).timestamp()
TEN_MINUTES = 600.0


def test_the_clock_runs_from_its_start() -> None:
    """The clock follows the machine's clock with an offset."""
    clock = PlatformClock(BEFORE_MIDNIGHT)
    assert 0 <= clock.now() - BEFORE_MIDNIGHT < 5
    clock.advance(TEN_MINUTES)
    assert 0 <= clock.now() - BEFORE_MIDNIGHT - TEN_MINUTES < 5
    clock.set(0.0)
    assert 0 <= clock.now() < 5
    assert abs(PlatformClock().now() - time.time()) < 5


async def test_records_pass_midnight_between_two_invocations(tmp_path: Path) -> None:
    """The report of the first invocation keeps its day, although it is delivered on the next one."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(clock=PlatformClock(BEFORE_MIDNIGHT))) as lam:
        first = await lam.invoke({"print": "before\n"})
        await lam.skip_time(TEN_MINUTES)
        second = await lam.invoke({"print": "after\n", "linger": 0.2})
        await lam.shutdown()
    days = {
        (record["type"], record["record"]["requestId"]): record["time"][:10]
        for record in harness.records()
        if isinstance(record["record"], dict) and "requestId" in record["record"]
    }
    for kind in ("platform.start", "platform.runtimeDone", "platform.report"):
        assert days[kind, first.request_id] == "2031-02-28"
    assert days["platform.start", second.request_id] == "2031-03-01"
    lines = {record["record"]: record["time"][:10] for record in harness.records() if record["type"] == "function"}
    assert lines == {"before": "2031-02-28", "after": "2031-03-01"}
    (report,) = [
        record["record"]
        for record in harness.records()
        if record["type"] == "platform.report" and record["record"]["requestId"] == first.request_id
    ]
    assert report["spans"][0]["start"].startswith("2031-02-28")


async def test_deadlines_stay_on_the_clock_of_the_machine(tmp_path: Path) -> None:
    """The processes compare deadlines with their own clock."""
    async with Lambda(EmulatorHarness(tmp_path).config(clock=PlatformClock(0.0), timeout_seconds=3)) as lam:
        result = await lam.invoke({})
    deadline_ms = int(json.loads(result.payload)["headers"]["Lambda-Runtime-Deadline-Ms"])
    assert abs(deadline_ms / 1000 - 3 - time.time()) < 10


async def test_provisioned_concurrency_runs_init_hours_before_the_first_invocation(tmp_path: Path) -> None:
    """The init records are hours older than the first invocation, and the environment was frozen."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(
        clock=PlatformClock(BEFORE_MIDNIGHT), initialization_type="provisioned-concurrency", memory_mb=128
    )
    async with Lambda(config) as lam:
        await lam.skip_time(3 * 3600)
        await lam.invoke({"linger": 0.2})
        await lam.shutdown()
    times = {record["type"]: record["time"] for record in harness.records()}
    assert times["platform.initStart"].startswith("2031-02-28T23:50")
    assert times["platform.initReport"].startswith("2031-02-28T23:50")
    assert times["platform.start"].startswith("2031-03-01T02:50")
    kinds = [e.kind for e in lam.timeline if e.kind in ("freeze", "skip", "thaw", "invoke")]
    assert kinds[:4] == ["freeze", "skip", "thaw", "invoke"]
