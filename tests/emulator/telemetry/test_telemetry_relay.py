"""Records of an environment: types, order and fields for each subscription."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda
from support.emulator_harness import EmulatorHarness, delivered

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_records_of_an_invocation_have_their_order_and_fields(tmp_path: Path) -> None:
    """Init, start, lines, runtimeDone. The report follows with the next invocation or at the end."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(
        harness.config(extensions={"ext": harness.extension(api="telemetry", on_shutdown="sleep:0.2")})
    ) as lam:
        result = await lam.invoke({"print": "one\ntwo\n"})
        await lam.shutdown()
    records = harness.records()
    assert [record["type"] for record in records] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "function",
        "function",
        "platform.runtimeDone",
        "platform.report",
    ]
    by_type = {record["type"]: record["record"] for record in records}
    init = {"initializationType": "on-demand", "phase": "init"}
    assert init.items() <= by_type["platform.initStart"].items()
    assert by_type["platform.initStart"]["instanceMaxMemory"] == 128 * 1024 * 1024
    assert by_type["platform.initRuntimeDone"] == {**init, "status": "success"}
    assert set(by_type["platform.initReport"]) == {*init, "status", "metrics"}
    assert by_type["platform.extension"] == {"name": "ext", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert by_type["platform.telemetrySubscription"] == {
        "name": "ext",
        "state": "Subscribed",
        "types": ["platform", "function"],
    }
    start, done, report = (by_type[f"platform.{kind}"] for kind in ("start", "runtimeDone", "report"))
    assert {start["requestId"], done["requestId"], report["requestId"]} == {result.request_id}
    assert start["version"] == "$LATEST"
    assert (done["status"], done["metrics"]["producedBytes"]) == ("success", len(result.payload))
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    assert [span["name"] for span in report["spans"]] == ["extensionOverhead"]
    assert set(report["metrics"]) == {
        "durationMs",
        "billedDurationMs",
        "memorySizeMB",
        "maxMemoryUsedMB",
        "initDurationMs",
    }
    assert report["metrics"]["maxMemoryUsedMB"] > 0
    assert [record["time"] for record in records] == sorted(record["time"] for record in records)


async def test_a_function_error_sets_status_and_error_type(tmp_path: Path) -> None:
    """Both records have the error type that the runtime reported."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        await lam.invoke({"error": "Order.Missing"})
        await lam.shutdown()
    outcomes = [
        (r["record"]["status"], r["record"]["errorType"])
        for r in lam.records_sent
        if r["type"] in ("platform.runtimeDone", "platform.report")
    ]
    assert outcomes == [("error", "Order.Missing")] * 2


async def test_each_line_is_one_record_of_any_length_and_end(tmp_path: Path) -> None:
    """Long lines stay complete, and an unfinished line precedes runtimeDone."""
    harness = EmulatorHarness(tmp_path)
    long = "x" * 1_500_000
    async with Lambda(harness.config(freeze=False)) as lam:
        await lam.invoke({"print": f"short\n{long}\n\nno newline"})
        await delivered(lam, "platform.runtimeDone")
        await lam.shutdown()
    lines = [record["record"] for record in lam.records_sent if record["type"] == "function"]
    assert lines == ["short", long, "", "no newline"]
    types = [record["type"] for record in lam.records_sent]
    assert types.index("platform.runtimeDone") == types.index("platform.start") + 4


@pytest.mark.parametrize(
    ("schema", "log_format", "expected"),
    [
        ("2025-01-29", "JSON", [{"level": "INFO", "n": 1}, "plain", "[1]", "{broken"]),
        ("2022-12-13", "JSON", [{"level": "INFO", "n": 1}, "plain", "[1]", "{broken"]),
        ("2022-07-01", "JSON", ['{"level": "INFO", "n": 1}\n', "plain\n", "[1]\n", "{broken\n"]),
        ("2025-01-29", "Text", ['{"level": "INFO", "n": 1}', "plain", "[1]", "{broken"]),
    ],
)
async def test_json_lines_are_objects_from_schema_2022_12_13_on(
    tmp_path: Path, schema: str, log_format: str, expected: list[object]
) -> None:
    """Other lines stay strings, with their newline in the oldest schema."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="telemetry", subscription={"schemaVersion": schema})
    async with Lambda(harness.config(extensions={"ext": extension}, log_format=log_format, freeze=False)) as lam:
        await lam.invoke({"print": '{"level": "INFO", "n": 1}\nplain\n[1]\n{broken\n'})
        await delivered(lam, "platform.runtimeDone")
    assert [record["record"] for record in harness.records() if record["type"] == "function"] == expected


async def test_python_logging_in_json_format_arrives_as_objects(tmp_path: Path) -> None:
    """The runtime client receives the format, and its lines become objects."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(
        function=[sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"], log_format="JSON"
    )
    async with Lambda(config) as lam:
        result = await lam.invoke({"lines": 0, "log": "watch out", "sleep_ms": 100})
    (record,) = [r["record"] for r in lam.records_sent if r["type"] == "function"]
    assert (record["message"], record["level"], record["requestId"]) == ("watch out", "WARNING", result.request_id)


async def test_a_subscriber_receives_only_the_selected_types(tmp_path: Path) -> None:
    """Records of other types are not sent."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="telemetry", subscription={"types": ["function"]})
    async with Lambda(harness.config(extensions={"ext": extension})) as lam:
        await lam.invoke({"print": "a line\n", "linger": 0.1})
    assert {record["type"] for record in lam.records_sent} == {"function"}


async def test_the_logs_api_has_separate_record_types(tmp_path: Path) -> None:
    """Lines are strings; platform.end and a reduced runtimeDone exist from 2021-03-18 on."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="logs", subscription={"schemaVersion": "2021-03-18"}, on_shutdown="sleep:0.2")
    async with Lambda(harness.config(extensions={"ext": extension}, log_format="JSON")) as lam:
        result = await lam.invoke({"print": '{"a": 1}\n'})
        await lam.shutdown()
    types = harness.types()
    assert "platform.logsSubscription" in types
    assert "platform.telemetrySubscription" not in types
    assert types[-3:] == ["platform.runtimeDone", "platform.end", "platform.report"]
    by_type = {record["type"]: record["record"] for record in harness.records()}
    assert by_type["function"] == '{"a": 1}\n'
    assert by_type["platform.runtimeDone"] == {"requestId": result.request_id, "status": "success"}


async def test_the_logs_api_reports_a_fault_as_text(tmp_path: Path) -> None:
    """Its oldest schema has no runtimeDone."""
    harness = EmulatorHarness(tmp_path)
    extension = harness.extension(api="logs", subscription={"schemaVersion": "2020-08-15"})
    async with Lambda(harness.config(extensions={"ext": extension})) as lam:
        result = await lam.invoke({"exit": 1})
        await lam.wait_idle()
    (fault,) = [r["record"] for r in lam.records_sent if r["type"] == "platform.fault"]
    assert fault == f"RequestId: {result.request_id} Status: error\tErrorType: Runtime.ExitError"
    assert "platform.runtimeDone" not in [r["type"] for r in lam.records_sent]


async def test_a_late_subscriber_receives_the_earlier_records(tmp_path: Path) -> None:
    """Records from before the subscription are replayed once."""
    harness = EmulatorHarness(tmp_path)
    extensions = {
        "quick": harness.extension("quick", api="telemetry"),
        "slow": harness.extension("slow", at_start="sleep:0.2", api="telemetry"),
    }
    async with Lambda(harness.config(extensions=extensions, freeze=False)) as lam:
        await lam.invoke({})
        await lam.timeline.wait_for(lambda e: e.kind == "delivery" and "platform.start" in harness.types("slow"))
    assert harness.types("slow")[:2] == ["platform.initStart", "platform.telemetrySubscription"]
    subscribed = [r["record"]["name"] for r in harness.records("slow") if r["type"] == "platform.telemetrySubscription"]
    assert subscribed == ["quick", "slow"]
