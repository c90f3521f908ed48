"""Records at the end of an environment: before SHUTDOWN, after it, and from SIGTERM handlers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda, Limits, TelemetryBehaviour
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path

LONG_BUFFER = {"buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 30_000}}
TOLERANCE_SECONDS = 0.02


def listening_extension(harness: EmulatorHarness) -> list[str]:
    """Return an extension that listens for half a second after SHUTDOWN."""
    return harness.extension(api="telemetry", on_shutdown="sleep:0.5", subscription=LONG_BUFFER)


def shutdown_time(harness: EmulatorHarness) -> float:
    """Return the time at which the extension received its first SHUTDOWN."""
    return next(
        float(note["at"]) for note in harness.responses("/event/next") if '"eventType": "SHUTDOWN"' in note["body"]
    )


def arrivals(harness: EmulatorHarness) -> dict[str, float]:
    """Return the time of the first arrival of each line and of each platform type, relative to SHUTDOWN."""
    times: dict[str, float] = {}
    for note in harness.notes("batch"):
        for record in json.loads(note["body"]):
            key = record["record"] if record["type"] == "function" else record["type"]
            times.setdefault(key, note["at"] - shutdown_time(harness))
    return times


async def test_the_lines_of_a_crashing_init_are_delivered_before_shutdown(tmp_path: Path) -> None:
    """The end of the runtime's streams flushes the buffers, and SHUTDOWN follows."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config("init-crash", extensions={"ext": listening_extension(harness)})
    async with Lambda(config) as lam:
        await lam.start()
        (end,) = [e for e in lam.timeline.of("shutdown") if e.detail["phase"] == "end"]
        assert end.detail["reason"] == "failure"
    times = arrivals(harness)
    assert times["starting"] < 0
    assert times["cannot connect to the database"] < 0
    assert times["platform.initReport"] < 0
    assert lam.records_delivered == lam.records_sent


async def test_a_subscriber_that_does_not_respond_delays_shutdown_by_the_flush_limit(tmp_path: Path) -> None:
    """SHUTDOWN is sent after the limit, although records are pending."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="telemetry", reject=1000, subscription=LONG_BUFFER)
    limits = Limits(telemetry_flush_seconds=0.3)
    async with Lambda(harness.config("init-crash", extensions={"ext": extension}, limits=limits)) as lam:
        await lam.start()
    begin = lam.timeline.of("shutdown")[0]
    (sent,) = lam.timeline.of("event", "ext")
    assert 300 <= sent.at_ms - begin.at_ms < 1500


async def test_the_lines_of_a_sigterm_handler_are_delivered(tmp_path: Path) -> None:
    """The runtime receives SIGTERM before the extension receives SHUTDOWN, and its lines arrive."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config("sigterm-lines:50", extensions={"ext": listening_extension(harness)})
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.exit_codes["runtime"] == 0
    lines = [record["record"] for record in harness.records() if record["type"] == "function"]
    assert lines == [f"sigterm {number}" for number in range(50)]
    exited, (sent,) = lam.timeline.of("exit", "runtime")[0], lam.timeline.of("event", "ext")[1:]
    assert exited.at_ms <= sent.at_ms


@pytest.mark.parametrize(("internal", "exit_code"), [(False, -9), (True, 0)])
async def test_an_internal_extension_extends_the_share_of_the_runtime(
    tmp_path: Path, internal: bool, exit_code: int
) -> None:
    """The time from SIGTERM to SIGKILL is 0.3 s with external extensions, and longer with an internal one."""
    harness = EmulatorHarness(tmp_path)
    limits = Limits(runtime_share_seconds=0.1, runtime_share_internal_seconds=1.5)
    arguments = ["sigterm-sleep:0.4", *(["internal-extension"] if internal else [])]
    config = harness.config(*arguments, extensions={"ext": harness.extension()}, limits=limits)
    async with Lambda(config) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.exit_codes["runtime"] == exit_code


async def test_delayed_types_arrive_after_shutdown(tmp_path: Path) -> None:
    """Each type has a separate delay; other records are not delayed."""
    harness = EmulatorHarness(tmp_path)
    telemetry = TelemetryBehaviour(
        shutdown_delay_seconds={"platform.report": 0.05, "platform.runtimeDone": 0.1, "function": 0.2}
    )
    config = harness.config("sigterm-lines:1", extensions={"ext": listening_extension(harness)}, telemetry=telemetry)
    async with Lambda(config) as lam:
        await lam.invoke({})
        await lam.shutdown()
    times = arrivals(harness)
    assert times["platform.start"] < 0.05
    assert times["platform.report"] > 0.05 - TOLERANCE_SECONDS
    assert times["platform.runtimeDone"] > 0.1 - TOLERANCE_SECONDS
    assert times["sigterm 0"] > 0.2 - TOLERANCE_SECONDS
    assert times["platform.report"] < times["platform.runtimeDone"] < times["sigterm 0"]
    assert len(lam.records_delivered) == len(lam.records_sent)


async def test_a_category_delays_all_its_types(tmp_path: Path) -> None:
    """`platform` delays every platform record of a crashing init, `function` every line."""
    harness = EmulatorHarness(tmp_path)
    telemetry = TelemetryBehaviour(shutdown_delay_seconds={"platform": 0.1, "function": 0.1})
    config = harness.config("init-crash", extensions={"ext": listening_extension(harness)}, telemetry=telemetry)
    async with Lambda(config) as lam:
        await lam.start()
    assert min(arrivals(harness).values()) > 0.1 - TOLERANCE_SECONDS
    assert len(lam.records_delivered) == len(lam.records_sent)


async def test_a_delayed_record_is_not_delivered_to_an_extension_that_has_exited(tmp_path: Path) -> None:
    """An extension that exits before the delay misses the record, as on Lambda."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="telemetry", subscription=LONG_BUFFER)
    telemetry = TelemetryBehaviour(shutdown_delay_seconds={"platform.report": 0.3})
    async with Lambda(harness.config(extensions={"ext": extension}, telemetry=telemetry)) as lam:
        await lam.invoke({})
        result = await lam.shutdown()
    assert result.duration_ms < 300
    assert "platform.report" not in harness.types()
    assert "platform.report" in [record["type"] for record in lam.records_sent]
