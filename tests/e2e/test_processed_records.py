"""Selected and masked records: a real function, the real extension, a real S3 server, and `logferry verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.verify.verification import verify
from support.end_to_end import arrived_in_s3, environment, lines_of, own_messages, records_of, to_s3

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from logferry.emulator.s3_server import S3Server

ADDRESS = "jane.doe@example.com"


async def test_filtered_and_masked_objects_are_complete(
    tmp_path: Path, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The personal data and the dropped lines never reach S3, and every delivered record is stored or counted."""
    settings = to_s3(
        s3,
        bucket,
        LOGFERRY_FLUSH="invocation",
        LOGFERRY_EXCLUDE="noise-1$",
        LOGFERRY_EXCLUDE_TYPES="platform.start,platform.runtimeDone,platform.report",
        LOGFERRY_MASK=r"email,order=/ORD-\d+/",
    )
    async with environment(tmp_path, settings) as service:
        await service.invoke({"marker": "noise", "lines": 3, "log": f"mail to {ADDRESS} about ORD-4711"})
        await service.wait_idle()
        await service.invoke({"marker": f"{ADDRESS} ä", "lines": 2})
        await service.wait_idle()
        await service.shutdown()
    objects = await arrived_in_s3(s3, bucket)
    lines = lines_of(objects)
    assert lines[:2] == ["noise-0", "noise-2"]
    assert lines[2].endswith("mail to [email] about [order]")
    assert lines[3:] == ["[email] ä-0", "[email] ä-1"]
    stored = records_of(objects)
    assert {record["type"] for record in stored} & {
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    } == set()
    shipped = [r for r in service.records_delivered if r["type"].partition(".")[0] in ("platform", "function")]
    assert len(stored) + sum(int(one.metadata["filtered"]) for one in objects) == len(shipped)
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    report = await verify(f"s3://{bucket}/logs")
    assert report.status == 0
    assert (report.processed.filtered, report.processed.masked, report.processed.failed) == (
        len(shipped) - len(stored),
        3,
        0,
    )


async def test_sample_keeps_failed_invocations_as_a_whole(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """With a share of zero, only the invocations that raise, exit or time out are stored."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation", LOGFERRY_SAMPLE="0", LOGFERRY_SAMPLE_KEEP="errors")
    events: list[dict[str, object]] = [
        {"marker": "fine"},
        {"marker": "raised", "raise": "x"},
        {"marker": "fine"},
        {"marker": "exit", "exit": 3},
    ]
    async with environment(tmp_path, settings) as service:
        for event in events:
            await service.invoke(event)
            await service.wait_idle()
        await service.shutdown()
    objects = await arrived_in_s3(s3, bucket)
    lines = [line for line in lines_of(objects) if line.endswith("-0")]
    assert lines == ["raised-0", "exit-0"]
    assert not own_messages(service)


async def test_object_of_each_format_is_read_back_from_s3(
    tmp_path: Path, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Format, compression and size are settings, and `logferry verify` proves all objects of one prefix complete."""
    formats = {
        "zstd": {"LOGFERRY_COMPRESSION": "zstd"},
        "text": {"LOGFERRY_FORMAT": "text", "LOGFERRY_COMPRESSION": "none"},
        "otlp": {"LOGFERRY_FORMAT": "otlp", "LOGFERRY_LINE_FIELDS": "traceId"},
        "small": {"LOGFERRY_OBJECT_BYTES": "64KiB"},
    }
    shipped = 0
    for name, more in formats.items():
        folder = tmp_path / name
        folder.mkdir()
        async with environment(folder, to_s3(s3, bucket, LOGFERRY_FLUSH="invocation", **more)) as service:
            await service.invoke({"marker": name, "lines": 300, "bytes": 1000 if name == "small" else 0})
            await service.wait_idle()
            await service.shutdown()
        assert not own_messages(service)
        shipped += sum(r["type"].partition(".")[0] in ("platform", "function") for r in service.records_delivered)
    objects = [await s3.get(bucket, key) for key in await s3.list_keys(bucket)]
    by_suffix: dict[str, list[str]] = {}
    for one in objects:
        by_suffix.setdefault(one.key.partition("0000000")[2].partition(".")[2], []).append(one.metadata["format"])
    assert {suffix: set(found) for suffix, found in by_suffix.items()} == {
        "ndjson.zst": {"1"},
        "log": {"text"},
        "json.gz": {"otlp"},
        "ndjson.gz": {"1"},
    }
    assert len(by_suffix["ndjson.gz"]) >= 3, "the batches of one flush are in several objects"
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    report = await verify(f"s3://{bucket}/logs")
    assert report.status == 0
    assert sum(each.records for each in report.environments) == shipped
