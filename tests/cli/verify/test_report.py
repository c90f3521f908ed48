"""`verify` finds missing and duplicated records, in tables of objects and in a real bucket."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.object_reader import open_destination, read_all
from logferry.cli.stored_objects import DestinationError, ReadObject, UnreadableObject
from logferry.cli.verify.command import run_verify
from logferry.cli.verify.completeness import Report, judge
from logferry.cli.verify.object_check import check_object
from logferry.cli.verify.verification import verify
from support.tls_server import tls_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server


def line(segment: int, number: int, *, environment: str = "e1", kind: str = "function", record: Any = "x") -> bytes:
    """Return one line in the encoder's format."""
    value = {"message": record} if isinstance(record, str) else {"record": json.dumps(record)}
    return json.dumps({"type": kind, **value, "environment": environment, "segment": segment, "line": number}).encode()


def stored(segment: int, lines: Sequence[bytes], *, environment: str = "e1", **metadata: str) -> ReadObject:
    """Return one object. `metadata` overrides its metadata, with `_` for `-`."""
    defaults = {
        "environment": environment,
        "segment": str(segment),
        "records": str(len(lines)),
        "first-time": f"2026-11-21T02:{segment:02d}:00.000Z",
        "last-time": f"2026-11-21T02:{segment:02d}:59.000Z",
    }
    defaults |= {name.replace("_", "-"): value for name, value in metadata.items()}
    records = int(defaults["records"]) if defaults["records"].isdecimal() else 0
    kind = "logferry.final" if defaults.get("final") == "true" else "logferry.segment"
    closing = line(segment, records + 1, environment=environment, kind=kind, record={"records": records})
    return ReadObject(f"{environment}-{segment}-{id(lines)}.ndjson", defaults, (*lines, closing))


def whole(segment: int, count: int = 3, *, environment: str = "e1", **metadata: str) -> ReadObject:
    """Return an object without a fault."""
    lines = [line(segment, number, environment=environment) for number in range(1, count + 1)]
    return stored(segment, lines, environment=environment, **metadata)


def cut(stored: ReadObject) -> ReadObject:
    """Return an object without its closing line."""
    return replace(stored, lines=tuple(stored.lines)[:-1])


def extended(stored: ReadObject) -> ReadObject:
    """Return an object with a line behind its closing line."""
    lines = tuple(stored.lines)
    return replace(stored, lines=(*lines, lines[0]))


def dropped(segment: int, number: int, *, lost: int, until: int | None = None, environment: str = "e1") -> bytes:
    """Return a line that reports ten lost records. Without `until` it names one segment."""
    record = {"environment": environment, "segment": lost, "records": 10, "bytes": 900, "reason": "spool full"}
    record |= {} if until is None else {"until": until}
    return line(segment, number, kind="logferry.dropped", record=record)


def proof(*objects: ReadObject | UnreadableObject) -> Report:
    """Return the report for these objects."""
    return judge(check_object(each) for each in objects)


def found(report: Report) -> dict[str, int]:
    """Return the faults of a report by name, without zeros."""
    counts = {
        "missing segments": sum(each.missing for each in report.environments),
        "missing lines": sum(each.missing_lines for each in report.environments),
        "twice": sum(each.duplicates for each in report.environments),
        "lost": sum(len(each.losses) for each in report.environments),
        "open": sum(not each.ended for each in report.environments),
        "unreadable": len(report.unreadable),
    }
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize(
    ("objects", "wrong", "status"),
    [
        ([whole(1), whole(2, final="true")], {}, 0),
        ([whole(2, final="true"), whole(1)], {}, 0),
        ([whole(1, final="true"), whole(1, environment="e2", final="true")], {}, 0),
        ([whole(1), whole(2, 0, final="true")], {}, 0),
        ([whole(1)], {"open": 1}, 0),
        ([whole(1, final="true"), whole(2)], {"open": 1}, 0),
        ([whole(1), stored(3, [dropped(3, 1, lost=2)], final="true")], {"lost": 1}, 0),
        ([stored(1, [dropped(1, 1, lost=1, environment="e0")], final="true")], {"lost": 1, "open": 1}, 0),
        ([whole(1), stored(2, [dropped(2, 1, lost=1)], final="true")], {}, 0),
        ([whole(2, final="true")], {"missing segments": 1}, 1),
        ([whole(1), whole(5, final="true")], {"missing segments": 3}, 1),
        ([whole(1), stored(4, [dropped(4, 1, lost=2)], final="true")], {"missing segments": 1, "lost": 1}, 1),
        ([stored(1, [dropped(1, 1, lost=3)])], {"missing segments": 1, "lost": 1, "open": 1}, 1),
        ([whole(1), stored(6, [dropped(6, 1, lost=2, until=5)], final="true")], {"lost": 1}, 0),
        ([whole(1), stored(6, [dropped(6, 1, lost=2, until=4)], final="true")], {"missing segments": 1, "lost": 1}, 1),
        ([stored(1, [dropped(1, 1, lost=3, until=9)])], {"missing segments": 1, "lost": 1, "open": 1}, 1),
        ([whole(1), stored(2, [dropped(2, 1, lost=1, until=2)], final="true")], {}, 0),
        ([whole(1), stored(3, [dropped(3, 1, lost=1, until=2)], final="true")], {"lost": 1}, 0),
        ([stored(1, [line(1, 1), line(1, 3)], records="3", final="true")], {"missing lines": 1}, 1),
        ([stored(1, [line(1, 1)], records="4", final="true")], {"missing lines": 3}, 1),
        ([stored(1, [line(1, 1), line(1, 2), line(1, 2)], final="true")], {"missing lines": 1, "twice": 1}, 1),
        ([whole(1, final="true"), whole(1, final="true")], {"twice": 3}, 1),
        ([stored(1, [line(1, 1)], records="2"), stored(1, [line(1, 2)], records="2", final="true")], {}, 0),
        ([whole(1, 0), whole(1, 2, final="true")], {}, 0),
        ([], {}, 2),
    ],
    ids=[
        "two segments",
        "the order of reading does not matter",
        "two environments",
        "an empty last segment",
        "no final object is not a fault",
        "a final object that is not the last",
        "a reported loss is no gap",
        "a loss of an otherwise unknown environment",
        "a segment reported lost and stored nevertheless",
        "the first segment is missing",
        "segments between are missing",
        "a reported loss does not cover its neighbour",
        "a gap before a reported loss",
        "a range of losses is no gap",
        "a range does not cover its neighbour",
        "a range at the end, and a gap before it",
        "a range that was stored nevertheless",
        "a range with one segment stored nevertheless",
        "a line between is missing",
        "the last lines are missing",
        "a line is repeated within its object",
        "a segment is stored under two keys",
        "a segment in two halves",
        "an empty and a full copy",
        "no objects",
    ],
)
def test_verify_finds_each_fault_and_no_other(objects: list[ReadObject], wrong: dict[str, int], status: int) -> None:
    """Each kind of fault has its own count, and objects without a fault have none."""
    report = proof(*objects)
    assert found(report) == wrong
    assert report.status == status


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (stored(2, [b"{}"]), "line 1 is not a line"),
        (stored(2, [b"[1]"]), "line 1 is not a line"),
        (stored(2, [b'{"half": ']), "line 1 is not a line"),
        (stored(2, [b"\xff"]), "line 1 is not a line"),
        (stored(2, [line(2, 1), b""]), "line 2 is not a line"),
        (stored(2, [b'{"environment":"e1","segment":2,"line":"1"}']), "line 1 is not a line"),
        (stored(2, [b'{"environment":"e1","segment":2.0,"line":1}']), "line 1 is not a line"),
        (stored(2, [b'{"environment":"e1","segment":2}']), "line 1 is not a line"),
        (cut(whole(2)), "the object was cut at the end of a line"),
        (extended(whole(2)), "line 5 follows the closing line"),
        (stored(2, [line(2, 3, kind="logferry.segment")]), "number 3, the metadata have records=1"),
        (stored(2, [line(7, 1)]), "is of segment 7 of e1"),
        (stored(2, [line(2, 1, environment="e9")]), "is of segment 2 of e9"),
        (stored(2, [line(2, 1), line(2, 2)], records="1"), "number 2, the metadata have records=1"),
        (stored(2, [line(2, 0)]), "number 0, the metadata have records=1"),
        (stored(2, [line(2, 1, kind="logferry.dropped", record={"environment": "e1", "segment": "x", "records": 1,
                                                                "bytes": 1})]), "line 1 is not a line"),
        (UnreadableObject("k", whole(2).metadata, "AccessDenied"), "AccessDenied"),
    ],
)  # fmt: skip
def test_an_object_that_contradicts_itself_is_unreadable_and_not_missing(
    damaged: ReadObject | UnreadableObject, reason: str
) -> None:
    """Its segment exists according to the metadata, but its content is not reliable."""
    report = proof(whole(1), damaged, whole(3, final="true"))
    assert found(report) == {"unreadable": 1}
    assert reason in report.unreadable[0][1]
    assert report.status == 2


@pytest.mark.parametrize(
    "metadata",
    [{"segment": "0"}, {"segment": "-1"}, {"segment": "two"}, {"records": ""}, {"records": "1.5"}],
)
def test_an_object_without_a_valid_place_is_unreadable_and_its_segment_missing(metadata: dict[str, str]) -> None:
    """An object without a segment number fills no gap."""
    placeless = replace(whole(2), metadata={**whole(2).metadata, **metadata})
    report = proof(whole(1), placeless, whole(3, final="true"))
    assert found(report) == {"missing segments": 1, "unreadable": 1}
    assert report.status == 1


def test_losses_of_the_platform_are_counted_once() -> None:
    """A copy of an object does not count again."""
    lost = {"droppedRecords": 5, "droppedBytes": 70, "reason": "slow"}
    lines = [line(1, number, kind="platform.logsDropped", record=lost) for number in (1, 2)]
    report = proof(stored(1, lines), stored(1, list(lines)))
    assert (report.platform_lost.records, report.platform_lost.bytes) == (10, 140)


def test_an_environment_has_the_totals_of_its_objects() -> None:
    """Segments, records, times and gaps come from all its objects."""
    [each] = proof(whole(1, 2), whole(4, 5), whole(7, 1)).environments
    assert (each.environment, each.segments, each.records) == ("e1", 3, 8)
    assert (each.first_time, each.last_time) == ("2026-11-21T02:01:00.000Z", "2026-11-21T02:07:59.000Z")
    assert each.missing_segments == (range(2, 4), range(5, 7))


async def test_objects_of_a_real_bucket_are_verified(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server has more objects than are read concurrently, and a second prefix."""
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    objects = [whole(number, final="true" if number == 20 else "false") for number in range(1, 21)]
    objects[4] = stored(5, [dropped(5, 1, lost=6)])
    async with s3.client() as client:

        async def put(key: str, each: ReadObject, body: bytes) -> None:
            await client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=each.metadata)

        for each in objects[:5] + objects[6:]:
            body = b"\n".join(each.lines) + b"\n"
            await put(f"logs/dt=1/{each.metadata['segment']}.ndjson.gz", each, gzip.compress(body))
        await put("logs-of-another/1", whole(1), b"not read")
        seen: list[tuple[int, int]] = []
        good = await verify(f"s3://{bucket}/logs", update=lambda done, total: seen.append((done, total)))
        await put("logs/dt=1/3.ndjson.gz", objects[2], gzip.compress(b"cut off")[:-4])
        await client.delete_object(Bucket=bucket, Key="logs/dt=1/8.ndjson.gz")
        damaged = await verify(f"s3://{bucket}/logs/")
    assert found(good) == {"lost": 1}
    assert (good.objects, good.status) == (19, 0)
    assert sum(each.records for each in good.environments) == 18 * 3 + 1
    assert seen[-1] == (19, 19)
    assert found(damaged) == {"lost": 1, "missing segments": 1, "unreadable": 1}
    assert damaged.unreadable[0][0] == "logs/dt=1/3.ndjson.gz"


async def test_a_bucket_that_cannot_be_listed_is_an_error_with_a_remedy(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role of a function cannot read, and the message names the permissions."""
    for name, value in s3.environment(s3.shipper).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DestinationError, match=r"AccessDenied.*requires s3:ListBucket"):
        await verify(f"s3://{bucket}")


@pytest.mark.parametrize("url", ["s3:///x", "http://x/y", "logs", "file://host/x", "file:relative/..", "s3://b/%Y"])
def test_an_invalid_destination_is_rejected(url: str) -> None:
    """The message precedes any access."""
    with pytest.raises(DestinationError, match="is not a valid destination"):
        open_destination(url)


@pytest.mark.parametrize("url", ["", "logs", "s3:/typo", "ftp://host/logs"])
def test_the_remedy_names_only_destinations_that_can_be_read(url: str) -> None:
    """A stream or a receiver would be refused by the next message."""
    with pytest.raises(DestinationError, match=r"use s3://bucket/prefix or file:///directory$"):
        open_destination(url)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ENDPOINT_URL_S3", "https://bucket.s3.example.test", "already contains the bucket"),
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem", "there is no such file"),
    ],
)
def test_an_invalid_aws_variable_is_named_before_any_access(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands check the AWS variables like the shipper."""
    monkeypatch.setenv(name, value)
    with pytest.raises(DestinationError, match=f"{name} is .*{message}"):
        open_destination("s3://bucket/logs")


def put_file(root: Path, name: str, each: ReadObject) -> None:
    """Store an object as the directory sink does."""
    body = b"\n".join(each.lines) + b"\n"
    path = root / "a=1" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    path.with_name(f"{name}.meta.json").write_text(json.dumps(each.metadata))


def test_verify_reads_a_directory_and_prints_the_verdict_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compressed and plain files count, temporary ones do not."""
    put_file(tmp_path, "1.ndjson.gz", whole(1))
    put_file(tmp_path, "2.ndjson", stored(2, [dropped(2, 1, lost=3)], final="true"))
    (tmp_path / "a=1" / ".4.ndjson.gz.77.part").write_bytes(b"incomplete")
    assert run_verify(f"file://{tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "Reported lost by logferry: 10 records (900 bytes) in 1 segment." in printed
    assert "Without a final object: 1 environment, still running" in printed
    assert printed.splitlines()[-1] == (
        "COMPLETE: no missing and no duplicate records (2 objects, 4 records, 1 environment)."
    )


def test_a_range_of_losses_is_shown_with_its_totals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that were stored nevertheless do not count as lost."""
    monkeypatch.setenv("COLUMNS", "200")
    put_file(tmp_path, "1.ndjson", whole(1, 1))
    put_file(tmp_path, "9.ndjson", stored(9, [dropped(9, 1, lost=1, until=8)], final="true"))
    assert run_verify(f"file://{tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "1-8" in printed
    assert "Reason: spool full" in printed
    assert "Reported lost by logferry: 10 records (900 bytes) in 7 segments." in printed


@pytest.mark.parametrize(
    ("objects", "verdict"),
    [
        (
            [whole(2, 1, final="true")],
            "1 segment missing, 0 lines missing, 0 lines duplicated (1 object, 1 record, 1",
        ),
        ([stored(1, [line(1, 1), line(1, 1)], records="2")], "0 segments missing, 1 line missing, 1 line duplicated ("),
        ([stored(1, [b"{}"])], "UNREADABLE: 1 of 1 object (0 records, 1 environment)."),
    ],
)
def test_the_verdict_has_singular_and_plural(
    objects: list[ReadObject], verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One has no plural s: 1 segment, 1 line, 1 object."""
    for number, each in enumerate(objects):
        put_file(tmp_path, f"{number}.ndjson", each)
    run_verify(f"file://{tmp_path}")
    assert verdict in capsys.readouterr().out


def test_files_with_faults_are_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The faults are missing files, damaged compressed data, and invalid metadata."""
    put_file(tmp_path, "1.ndjson", whole(1))
    put_file(tmp_path, "2.ndjson", whole(2))
    put_file(tmp_path, "3.ndjson.gz", whole(3))
    put_file(tmp_path, "4.ndjson", whole(4))
    put_file(tmp_path, "5.ndjson.zst", whole(5, final="true"))
    (tmp_path / "a=1/1.ndjson.meta.json").write_text("")
    (tmp_path / "a=1/2.ndjson").unlink()
    (tmp_path / "a=1/3.ndjson.gz").write_bytes(b"not gzip")
    (tmp_path / "a=1/4.ndjson.meta.json").write_text("[1]")
    assert run_verify(f"file://{tmp_path}") == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "unreadable: a=1/2.ndjson: [Errno 2]" in printed
    assert "unreadable: a=1/5.ndjson.zst: incomplete zstd data" in printed
    assert "INCOMPLETE: 2 segments missing, 0 lines missing, 0 lines duplicated" in printed


@pytest.mark.parametrize("where", ["absent", "empty"])
def test_a_destination_without_objects_is_not_complete(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt prefix must not look complete."""
    (tmp_path / "empty").mkdir()
    assert run_verify(f"file://{tmp_path / where}") == 2
    assert capsys.readouterr().out.startswith("cannot read" if where == "absent" else "NO OBJECTS")


async def test_a_server_with_a_certificate_for_another_name_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reader verifies the host name of the S3 endpoint."""
    with tls_server(tmp_path, name="another.example") as (environment, certificate, asked):
        for name, value in (environment | {"AWS_CA_BUNDLE": certificate}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(DestinationError, match=r"(?i)certificate"):
            await verify("s3://bucket/logs")
    assert asked == []


async def test_the_concurrency_limits_the_objects_in_memory() -> None:
    """The memory does not depend on the size of the bucket."""
    at_once = most = 0

    class Slow:
        async def keys(self, *, stored_since: datetime | None = None) -> list[str]:  # noqa: ARG002
            return [str(number) for number in range(50)]

        async def read(self, key: str) -> UnreadableObject:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return UnreadableObject(key, {}, "slow")

    taken: list[str] = []
    await read_all(Slow(), await Slow().keys(), lambda each: taken.append(each.key), concurrency=4)
    assert sorted(taken, key=int) == await Slow().keys()
    assert most == 4
