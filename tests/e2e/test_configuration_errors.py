"""Configuration errors and missing platform features: one message with the remedy, and no effect on the function."""

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
    """Run three invocations; the function succeeds, and no process is killed."""
    for number in range(3):
        result = await service.invoke({"marker": f"t{number}"})
        assert result.status == "success"
    result_of_end = await service.shutdown()
    assert result_of_end.killed == ()
    assert result_of_end.exit_codes["logferry"] == 0
    assert service.timeline.of("crash") == []


async def test_invalid_settings_are_reported_in_one_message(tmp_path: Path) -> None:
    """One message contains every invalid setting with its remedy; then logferry idles."""
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


async def test_missing_destination_is_reported_once(tmp_path: Path) -> None:
    """The destination is the only setting without a default."""
    async with environment(tmp_path, {"LOGFERRY_DESTINATION": ""}) as service:
        await _three_invocations(service)
    assert len(own_messages(service)) == 1
    assert "LOGFERRY_DESTINATION is not set" in own_messages(service)[0]


async def test_strict_fails_the_init_for_invalid_settings(tmp_path: Path) -> None:
    """LOGFERRY_STRICT reports invalid settings through init/error, so that the deployment fails."""
    async with environment(tmp_path, {"LOGFERRY_STRICT": "true", "LOGFERRY_DESTINATION": "nowhere"}) as service:
        result = await service.invoke({})
    assert result.status != "success"
    assert [e.detail["error_type"] for e in service.timeline.of("crash")][:1] == ["Extension.InitError"]
    assert "LOGFERRY_DESTINATION" in own_messages(service)[0]


async def test_strict_changes_nothing_for_valid_settings(tmp_path: Path) -> None:
    """With valid settings LOGFERRY_STRICT has no effect."""
    async with environment(tmp_path, {"LOGFERRY_STRICT": "true"}) as service:
        await _three_invocations(service)
    assert lines_of(arrived_in(tmp_path / "out")) == ["t0-0", "t1-0", "t2-0"]


async def test_disabled_extension_has_no_child_process_and_no_subscription(tmp_path: Path) -> None:
    """LOGFERRY_ENABLED=false: the extension only registers, because Lambda waits for that."""
    async with environment(tmp_path, {"LOGFERRY_ENABLED": "false", "LOGFERRY_DESTINATION": "wrong"}) as service:
        await service.start()
        assert len(service.extension_pids("logferry")) == 1
        await _three_invocations(service)
    assert service.timeline.of("subscribe") == []
    assert own_messages(service) == []


async def test_missing_bucket_is_reported_once_and_segments_stay(tmp_path: Path, s3: S3Server) -> None:
    """After a 404 the segments stay on disk, retries are rare, and one message has the remedy."""
    settings = to_s3(s3, "no-such-bucket", LOGFERRY_FLUSH="invocation") | s3.environment(s3.admin)
    async with environment(tmp_path, settings) as service:
        await _three_invocations(service)
    failures = [m for m in own_messages(service) if "upload failed" in m]
    assert len(failures) == 1
    assert "NoSuchBucket" in failures[0]
    assert "create the bucket" in failures[0]
    assert list((tmp_path / "tmp" / "logferry").glob("*.sealed"))


async def test_rejecting_bucket_is_reported_once_and_segments_are_stored_later(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """After a 403 the segments stay, and the next environment in the same /tmp stores them under their old names."""
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
async def test_newest_accepted_schema_is_used(tmp_path: Path, behaviour: TelemetryBehaviour, schema: str) -> None:
    """The subscription tries the Telemetry schemas from the newest on, then the Logs API; each delivers records."""
    async with environment(tmp_path, {}, telemetry=behaviour) as service:
        await _three_invocations(service)
    accepted = [e for e in service.timeline.of("subscribe") if e.detail["status"] == 200]
    assert [e.detail["schema"] for e in accepted] == [schema]
    objects = arrived_in(tmp_path / "out")
    assert lines_of(objects) == ["t0-0", "t1-0", "t2-0"]
    assert_exactly_once(service, objects)


@pytest.mark.parametrize("answer", [202, 404, 500])
async def test_missing_telemetry_is_reported_once(tmp_path: Path, answer: int) -> None:
    """After 202 of a local emulator, or an error: one message, no child process, and the function works."""
    behaviour = TelemetryBehaviour(telemetry_status=answer, logs_status=answer)  # type: ignore[arg-type]
    async with environment(tmp_path, {}, telemetry=behaviour) as service:
        await _three_invocations(service)
    assert sum("the Telemetry API is not available" in m for m in own_messages(service)) == 1
    assert arrived_in(tmp_path / "out") == []


async def test_occupied_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    """If another extension uses the port, logferry uses a free one, and records are stored."""
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        async with environment(tmp_path, {"LOGFERRY_PORT": str(port)}) as service:
            await _three_invocations(service)
    assert lines_of(arrived_in(tmp_path / "out")) == ["t0-0", "t1-0", "t2-0"]


async def test_own_messages_follow_the_log_format_of_the_function(tmp_path: Path) -> None:
    """With AWS_LAMBDA_LOG_FORMAT=JSON a message of logferry is an object, like the lines of the function."""
    settings = {"LOGFERRY_FLUSH": "sometimes"}
    async with environment(tmp_path, settings, log_format="JSON", working_directory=SAMPLES) as service:
        await service.invoke({})
        await service.shutdown()
    message = json.loads(own_messages(service)[0])
    assert message["level"] == "error"
    assert message["logger"] == "logferry"
    assert message["errors"] == ["LOGFERRY_FLUSH is 'sometimes': choose one of invocation, time, size, adaptive"]
