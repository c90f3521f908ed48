"""What a person did wrong, or the platform does not offer: said once with the remedy, and the function is unharmed."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.environment_config import TelemetryBehaviour
from support.end_to_end import SAMPLES, arrived_in, assert_exactly_once, environment, lines_of, own_messages, to_s3

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.lambda_service import Lambda
    from logferry.emulator.s3_server import S3Server


async def _three_invocations(service: Lambda) -> None:
    """The function answers, and nobody adds time to it."""
    for number in range(3):
        result = await service.invoke({"marker": f"t{number}"})
        assert result.status == "success"
    result_of_end = await service.shutdown()
    assert result_of_end.killed == ()
    assert result_of_end.exit_codes["logferry"] == 0
    assert service.timeline.of("crash") == []


async def test_wrong_settings_are_named_all_at_once_and_the_function_lives(tmp_path: Path) -> None:
    """Every mistake with its remedy in one message; then idle."""
    settings = {
        "LOGFERRY_DESTINATION": "bucket",
        "LOGFERRY_FLUSH": "sometimes",
        "LOGFERRY_FLUSH_SECONDS": "soon",
        "LOGFERRY_FLUHS_BYTES": "1MiB",
    }
    async with environment(tmp_path, settings) as service:
        await _three_invocations(service)
    messages = own_messages(service)
    assert len(messages) == 1
    for part in (*settings, "LOGFERRY_FLUSH_BYTES", "s3://bucket/prefix", "adaptive", "0.1 to 86400"):
        assert part in messages[0]


async def test_without_a_destination_it_says_so_and_idles(tmp_path: Path) -> None:
    """The one setting that has no default."""
    async with environment(tmp_path, {"LOGFERRY_DESTINATION": ""}) as service:
        await _three_invocations(service)
    assert len(own_messages(service)) == 1
    assert "LOGFERRY_DESTINATION is not set" in own_messages(service)[0]


async def test_strict_lets_wrong_settings_fail_the_init(tmp_path: Path) -> None:
    """LOGFERRY_STRICT: for those who want a deployment to fail, through init/error."""
    async with environment(tmp_path, {"LOGFERRY_STRICT": "true", "LOGFERRY_DESTINATION": "nowhere"}) as service:
        result = await service.invoke({})
    assert result.status != "success"
    assert [e.detail["error_type"] for e in service.timeline.of("crash")][:1] == ["Extension.InitError"]
    assert "LOGFERRY_DESTINATION" in own_messages(service)[0]


async def test_strict_with_sound_settings_works(tmp_path: Path) -> None:
    """LOGFERRY_STRICT changes nothing where all is well."""
    async with environment(tmp_path, {"LOGFERRY_STRICT": "true"}) as service:
        await _three_invocations(service)
    assert lines_of(arrived_in(tmp_path / "out")) == ["t0-0", "t1-0", "t2-0"]


async def test_switched_off_it_costs_no_process_and_no_subscription(tmp_path: Path) -> None:
    """LOGFERRY_ENABLED=false: registered, because Lambda waits for that, and nothing else."""
    async with environment(tmp_path, {"LOGFERRY_ENABLED": "false", "LOGFERRY_DESTINATION": "wrong"}) as service:
        await service.start()
        assert len(service.extension_pids("logferry")) == 1
        await _three_invocations(service)
    assert service.timeline.of("subscribe") == []
    assert own_messages(service) == []


async def test_a_missing_bucket_is_said_once_with_the_remedy_and_the_segments_stay(
    tmp_path: Path, s3: S3Server
) -> None:
    """404: not retried in vain, not said again, kept on disk."""
    settings = to_s3(s3, "no-such-bucket", LOGFERRY_FLUSH="invocation") | s3.environment(s3.admin)
    async with environment(tmp_path, settings) as service:
        await _three_invocations(service)
    failures = [m for m in own_messages(service) if "upload failed" in m]
    assert len(failures) == 1
    assert "NoSuchBucket" in failures[0]
    assert "create the bucket" in failures[0]
    assert list((tmp_path / "tmp" / "logferry").glob("*.sealed"))


async def test_a_refusing_bucket_is_said_once_and_the_next_life_ships_what_stayed(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """403: the segments stay; the next environment of the same /tmp ships them under their old name."""
    wrong = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation") | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    async with environment(tmp_path, wrong) as service:
        await _three_invocations(service)
    assert sum("SignatureDoesNotMatch" in m for m in own_messages(service)) == 1
    first_life = service.records_delivered
    async with environment(tmp_path, {"LOGFERRY_FLUSH": "invocation"}) as service:
        await service.invoke({"marker": "second-life"})
        await service.shutdown()
    objects = arrived_in(tmp_path / "out")
    assert lines_of(objects) == ["t0-0", "t1-0", "t2-0", "second-life-0"]
    assert sum(len(o.records) for o in objects) == len(first_life) + len(service.records_delivered)


@pytest.mark.parametrize(
    ("behaviour", "schema"),
    [
        (TelemetryBehaviour(), "2025-01-29"),
        (TelemetryBehaviour(rejected_schemas=frozenset({"2025-01-29"})), "2022-12-13"),
        (TelemetryBehaviour(rejected_schemas=frozenset({"2025-01-29", "2022-12-13"})), "2022-07-01"),
        (TelemetryBehaviour(telemetry_status=404), "2021-03-18"),
        (TelemetryBehaviour(telemetry_status=500), "2021-03-18"),
    ],
    ids=["newest", "2022-12-13", "2022-07-01", "logs-api-after-404", "logs-api-after-500"],
)
async def test_the_newest_schema_that_is_accepted_is_used(
    tmp_path: Path, behaviour: TelemetryBehaviour, schema: str
) -> None:
    """The ladder: Telemetry schemas from the newest, then the Logs API; records arrive on every rung."""
    async with environment(tmp_path, {}, telemetry=behaviour) as service:
        await _three_invocations(service)
    accepted = [e for e in service.timeline.of("subscribe") if e.detail["status"] == 200]
    assert [e.detail["schema"] for e in accepted] == [schema]
    objects = arrived_in(tmp_path / "out")
    assert lines_of(objects) == ["t0-0", "t1-0", "t2-0"]
    assert_exactly_once(service, objects)


@pytest.mark.parametrize("answer", [202, 404, 500])
async def test_where_there_is_no_telemetry_it_says_so_once_and_idles(tmp_path: Path, answer: int) -> None:
    """202 of a local emulator, or an API that is closed: one message, no process kept, the function answers."""
    behaviour = TelemetryBehaviour(telemetry_status=answer, logs_status=answer)  # type: ignore[arg-type]
    async with environment(tmp_path, {}, telemetry=behaviour) as service:
        await _three_invocations(service)
    assert sum("no telemetry here" in m for m in own_messages(service)) == 1
    assert arrived_in(tmp_path / "out") == []


async def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    """Another extension holds the port: ours moves, and records arrive."""
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        async with environment(tmp_path, {"LOGFERRY_PORT": str(port)}) as service:
            await _three_invocations(service)
    assert lines_of(arrived_in(tmp_path / "out")) == ["t0-0", "t1-0", "t2-0"]


async def test_own_messages_follow_the_functions_log_format(tmp_path: Path) -> None:
    """AWS_LAMBDA_LOG_FORMAT=JSON: our message is an object like the function's lines."""
    settings = {"LOGFERRY_FLUSH": "sometimes"}
    async with environment(tmp_path, settings, log_format="JSON", working_directory=SAMPLES) as service:
        await service.invoke({})
        await service.shutdown()
    message = json.loads(own_messages(service)[0])
    assert message["level"] == "error"
    assert message["logger"] == "logferry"
    assert message["mistakes"] == ["LOGFERRY_FLUSH is 'sometimes': choose one of invocation, time, size, adaptive"]
