"""Telemetry end to end: what a subscriber is told, in which order, and what it may subscribe to."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.lambda_service import Lambda, TelemetryBehaviour
from logferry.emulator.telemetry.platform_events import iso_time
from logferry.emulator.telemetry.subscription import LOGS_API, TELEMETRY_API, parse_subscription
from support.emulator_harness import Scene, delivered

if TYPE_CHECKING:
    from pathlib import Path

VALID: dict[str, Any] = {
    "schemaVersion": "2025-01-29",
    "types": ["platform", "function"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/a/path"},
}


def parse(body: object, *, api: str = TELEMETRY_API, managed_instances: bool = False) -> Any:
    """The subscription of a body."""
    return parse_subscription(json.dumps(body).encode(), name="ext", api=api, managed_instances=managed_instances)


def test_a_valid_subscription_has_the_documented_defaults() -> None:
    """10,000 records, 256 KiB, one second."""
    subscription = parse(VALID)
    assert (subscription.max_items, subscription.max_bytes, subscription.timeout_ms) == (10_000, 262_144, 1_000)
    assert subscription.url == "http://127.0.0.1:8080/a/path"
    assert parse(VALID | {"schemaVersion": "2020-08-15"}, api=LOGS_API).schema == "2020-08-15"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schemaVersion": "2019-01-01"}, "schemaVersion 2019-01-01 is not supported"),
        ({"schemaVersion": None}, "schemaVersion is not provided"),
        ({"types": []}, "types should not be empty"),
        ({"types": ["platform", "metrics"]}, "types metrics are not known"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxBytes": 1048577}}, "maxBytes should be between 262144 and 1048576"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs should be between 25 and 30000"),
        ({"buffering": {"timeoutMs": "25"}}, "timeoutMs should be between 25 and 30000"),
        ({"destination": {"protocol": "TCP", "port": 8080}}, "protocol should be HTTP"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}}, "URI port is not provided"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:9001"}}, "9001 is reserved"),
        ({"destination": {"protocol": "HTTP", "URI": "http://127.0.0.1:80"}}, "host should be sandbox.localdomain"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:80"}}, "URI should be http"),
    ],
)
def test_a_wrong_subscription_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    """400 ValidationError, with the mistake named."""
    with pytest.raises(RefusalError) as refused:
        parse(VALID | change)
    assert (refused.value.status, refused.value.error_type) == (400, "ValidationError")
    assert words in refused.value.message


def test_every_mistake_is_named_at_once() -> None:
    """As AWS's own answer does."""
    with pytest.raises(RefusalError, match="types should not be empty; URI port is not provided"):
        parse(VALID | {"types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox"}})


def test_managed_instances_take_one_schema_only() -> None:
    """2025-01-29."""
    parse(VALID, managed_instances=True)
    with pytest.raises(RefusalError, match="2022-12-13 is not supported"):
        parse(VALID | {"schemaVersion": "2022-12-13"}, managed_instances=True)


async def test_the_events_of_an_invocation_come_in_order_and_with_their_fields(tmp_path: Path) -> None:
    """Init, start, lines, runtimeDone; the report of an invocation only with the next or at the end."""
    scene = Scene(tmp_path)
    async with Lambda(
        scene.config(extensions={"ext": scene.extension(api="telemetry", on_shutdown="sleep:0.2")})
    ) as lam:
        result = await lam.invoke({"print": "one\ntwo\n"})
        await lam.shutdown()
    records = scene.records()
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


def test_times_are_utc_with_milliseconds() -> None:
    """2006-01-02T15:04:05.000Z."""
    assert iso_time(0.0019) == "1970-01-01T00:00:00.001Z"


async def test_failures_show_in_status_and_error_type(tmp_path: Path) -> None:
    """A function's error, and the error type it was reported with."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config()) as lam:
        await lam.invoke({"error": "Order.Missing"})
        await lam.shutdown()
    outcomes = [
        (r["record"]["status"], r["record"]["errorType"])
        for r in lam.records_sent
        if r["type"] in ("platform.runtimeDone", "platform.report")
    ]
    assert outcomes == [("error", "Order.Missing")] * 2


async def test_lines_are_records_whatever_their_length_and_ending(tmp_path: Path) -> None:
    """One line one record: long ones whole, the last one without its newline too, before runtimeDone."""
    scene = Scene(tmp_path)
    long = "x" * 1_500_000
    async with Lambda(scene.config(freeze=False)) as lam:
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
async def test_json_lines_are_objects_where_the_schema_has_them(
    tmp_path: Path, schema: str, log_format: str, expected: list[object]
) -> None:
    """From 2022-12-13 on and in JSON format; other lines stay strings, with their newline in the oldest schema."""
    scene = Scene(tmp_path)
    extension = scene.extension(api="telemetry", subscription={"schemaVersion": schema})
    async with Lambda(scene.config(extensions={"ext": extension}, log_format=log_format, freeze=False)) as lam:
        await lam.invoke({"print": '{"level": "INFO", "n": 1}\nplain\n[1]\n{broken\n'})
        await delivered(lam, "platform.runtimeDone")
    assert [record["record"] for record in scene.records() if record["type"] == "function"] == expected


async def test_python_logging_in_json_format_arrives_as_objects(tmp_path: Path) -> None:
    """The runtime client is told the format, and its lines are recognised."""
    scene = Scene(tmp_path)
    config = scene.config(
        function=[sys.executable, "-m", "awslambdaric", "logferry.emulator.samples.app.handler"], log_format="JSON"
    )
    async with Lambda(config) as lam:
        result = await lam.invoke({"lines": 0, "log": "watch out", "sleep_ms": 100})
    (record,) = [r["record"] for r in lam.records_sent if r["type"] == "function"]
    assert (record["message"], record["level"], record["requestId"]) == ("watch out", "WARNING", result.request_id)


async def test_a_subscriber_gets_only_the_types_it_asked_for(tmp_path: Path) -> None:
    """And extension lines only if it insists."""
    scene = Scene(tmp_path)
    extension = scene.extension(api="telemetry", subscription={"types": ["function"]})
    async with Lambda(scene.config(extensions={"ext": extension})) as lam:
        await lam.invoke({"print": "a line\n", "linger": 0.1})
    assert {record["type"] for record in lam.records_sent} == {"function"}


async def test_the_logs_api_tells_the_same_in_its_own_words(tmp_path: Path) -> None:
    """Strings always, logsSubscription, platform.end, and a bare runtimeDone from 2021-03-18 on."""
    scene = Scene(tmp_path)
    extension = scene.extension(api="logs", subscription={"schemaVersion": "2021-03-18"}, on_shutdown="sleep:0.2")
    async with Lambda(scene.config(extensions={"ext": extension}, log_format="JSON")) as lam:
        result = await lam.invoke({"print": '{"a": 1}\n'})
        await lam.shutdown()
    types = scene.types()
    assert "platform.logsSubscription" in types
    assert "platform.telemetrySubscription" not in types
    assert types[-3:] == ["platform.runtimeDone", "platform.end", "platform.report"]
    by_type = {record["type"]: record["record"] for record in scene.records()}
    assert by_type["function"] == '{"a": 1}\n'
    assert by_type["platform.runtimeDone"] == {"requestId": result.request_id, "status": "success"}


async def test_the_logs_api_tells_of_faults(tmp_path: Path) -> None:
    """In a sentence; and its oldest schema knows no runtimeDone."""
    scene = Scene(tmp_path)
    extension = scene.extension(api="logs", subscription={"schemaVersion": "2020-08-15"})
    async with Lambda(scene.config(extensions={"ext": extension})) as lam:
        result = await lam.invoke({"exit": 1})
        await lam.wait_idle()
    (fault,) = [r["record"] for r in lam.records_sent if r["type"] == "platform.fault"]
    assert fault == f"RequestId: {result.request_id} Status: error\tErrorType: Runtime.ExitError"
    assert "platform.runtimeDone" not in [r["type"] for r in lam.records_sent]


async def test_a_subscriber_that_comes_late_is_told_what_it_missed(tmp_path: Path) -> None:
    """Lines and events from before the subscription are replayed, once."""
    scene = Scene(tmp_path)
    extensions = {
        "quick": scene.extension("quick", api="telemetry"),
        "slow": scene.extension("slow", at_start="sleep:0.2", api="telemetry"),
    }
    async with Lambda(scene.config(extensions=extensions, freeze=False)) as lam:
        await lam.invoke({})
        await lam.timeline.wait_for(lambda e: e.kind == "delivery" and "platform.start" in scene.types("slow"))
    assert scene.types("slow")[:2] == ["platform.initStart", "platform.telemetrySubscription"]
    subscribed = [r["record"]["name"] for r in scene.records("slow") if r["type"] == "platform.telemetrySubscription"]
    assert subscribed == ["quick", "slow"]


@pytest.mark.parametrize(
    ("behaviour", "api", "status", "error_type"),
    [
        (TelemetryBehaviour(telemetry_answer=202), "telemetry", 202, "Telemetry.NotSupported"),
        (TelemetryBehaviour(telemetry_answer=500), "telemetry", 500, "InternalServerError"),
        (TelemetryBehaviour(refused_schemas=frozenset({"2025-01-29"})), "telemetry", 400, "ValidationError"),
        (TelemetryBehaviour(logs_answer=202), "logs", 202, "Logs.NotSupported"),
        (TelemetryBehaviour(), "logs", 400, "Logs.ValidationError"),
    ],
)
async def test_subscription_can_be_made_to_fail(
    tmp_path: Path, behaviour: TelemetryBehaviour, api: str, status: int, error_type: str
) -> None:
    """For a client's retreat: the function works all the same."""
    scene = Scene(tmp_path)
    config = scene.config(extensions={"ext": scene.extension(api=api)}, telemetry=behaviour)
    async with Lambda(config) as lam:
        result = await lam.invoke({})
    (answer,) = scene.answers("/telemetry") + scene.answers("/logs")
    assert (answer["status"], json.loads(answer["body"])["errorType"]) == (status, error_type)
    assert result.status == "success"
    assert not lam.records_sent


async def test_an_api_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """404, as from a server that does not know the path."""
    scene = Scene(tmp_path)
    async with Lambda(scene.config(telemetry=TelemetryBehaviour(telemetry_answer=404))) as lam:
        await lam.invoke({})
    assert scene.answers("/telemetry")[0]["status"] == 404
