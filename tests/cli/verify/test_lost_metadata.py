"""Copied, downloaded and foreign objects: `verify` uses the lines if the metadata are lost."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.verify.command import run_verify
from logferry.cli.verify.line_place import place_of_lines
from logferry.cli.verify.verification import verify

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

ENVIRONMENT = "0a1b2c3d4e5f6071"


def line(segment: int, number: int, kind: str = "function", **columns: Any) -> bytes:
    """Return one line of format 1."""
    place = {"segment": segment, "line": number}
    time = f"2026-11-21T02:{segment:02d}:{number:02d}.000Z"
    return json.dumps({"time": time, "type": kind, "environment": ENVIRONMENT} | place | columns).encode()


def body(segment: int, count: int = 2) -> bytes:
    """Return the body of a complete object."""
    lines = [line(segment, number) for number in range(1, count + 1)]
    return b"\n".join([*lines, closing(segment, count), b""])


def closing(segment: int, records: int) -> bytes:
    """Return the last line of an object."""
    return line(segment, records + 1, "logferry.segment", record=json.dumps({"format": 1, "records": records}))


def put(root: Path, segment: int, content: bytes, suffix: str = ".ndjson.gz") -> None:
    """Store an object without metadata under its default name."""
    data = gzip.compress(content) if suffix.endswith(".gz") else content
    (root / f"{ENVIRONMENT}-{segment:08d}{suffix}").write_bytes(data)


def test_place_of_lines_has_environment_segment_numbers_and_times() -> None:
    """The place comes from the lines, and the number of records is unknown without a closing line."""
    place = place_of_lines([line(7, 1), line(7, 2), line(7, 3)])
    assert place is not None
    assert (place.environment, place.segment, place.records, place.highest_line) == (ENVIRONMENT, 7, None, 3)
    assert (place.first_time, place.last_time) == ("2026-11-21T02:07:01.000Z", "2026-11-21T02:07:03.000Z")
    assert not place.final


@pytest.mark.parametrize(("kind", "final"), [("logferry.segment", False), ("logferry.final", True)])
def test_place_of_lines_takes_the_records_from_the_closing_line(kind: str, final: bool) -> None:
    """The closing line shows how many records an object had before it was cut."""
    place = place_of_lines([line(7, 1), line(7, 4, kind, record='{"format":1,"records":3}')])
    assert place is not None
    assert (place.records, place.final) == (3, final)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b""],
        [b"a,b"],
        [b"[1]"],
        [b"{}"],
        [b'{"environment":"e","segment":"2","line":"1"}'],
        [b'{"environment":1,"segment":1}'],
    ],
)
def test_place_of_lines_is_none_without_a_line_of_logferry(lines: list[bytes]) -> None:
    """Environment, segment and number identify a line."""
    assert place_of_lines(lines) is None


def test_verify_uses_the_lines_of_objects_without_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`aws s3 cp` and rclone download objects without their user metadata."""
    for segment in (1, 2):
        put(tmp_path, segment, body(segment))
    assert run_verify(f"file://{tmp_path}") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == (
        "COMPLETE: no missing and no duplicate records (2 objects, 4 records, 1 environment)."
    )


def test_verify_finds_faults_in_objects_without_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing segment, a missing line and a truncated object are found without metadata."""
    put(tmp_path, 1, line(1, 1) + b"\n" + line(1, 3) + b"\n" + closing(1, 3) + b"\n")
    put(tmp_path, 3, body(3))
    name = tmp_path / f"{ENVIRONMENT}-00000003.ndjson.gz"
    assert run_verify(f"file://{tmp_path}") == 1
    assert "INCOMPLETE: 1 segment missing, 1 line missing, 0 lines duplicated" in capsys.readouterr().out
    name.write_bytes(name.read_bytes()[:-9])
    run_verify(f"file://{tmp_path}")
    assert f"unreadable: {name.name}: incomplete gzip data" in capsys.readouterr().out


def test_verify_ignores_markers_and_foreign_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects of other programs do not change the verdict, and the report names one of them."""
    put(tmp_path, 1, body(1))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "dt=1_$folder$").touch()
    (tmp_path / "report.csv").write_text("a,b\n")
    (tmp_path / "archive.json.gz").write_bytes(b"not gzip")
    assert run_verify(f"file://{tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "Ignored: 2 objects of another program, such as archive.json.gz" in printed
    assert "COMPLETE: no missing and no duplicate records (1 object, 2 records" in printed


def test_verify_has_no_objects_if_all_are_foreign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix without an object of logferry must not look complete."""
    (tmp_path / "report.csv").write_text("a,b\n")
    assert run_verify(f"file://{tmp_path}") == 2
    assert "NO OBJECTS: check the prefix" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"{}\n", b"", b"garbage"])
def test_verify_reports_a_damaged_object_with_the_name_of_logferry(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An object with a default key is never foreign."""
    put(tmp_path, 1, content, suffix=".ndjson")
    assert run_verify(f"file://{tmp_path}") == 2
    assert "it has neither metadata nor lines of logferry" in capsys.readouterr().out


async def test_verify_ignores_folders_and_reads_copies_of_a_real_bucket(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The S3 console creates zero-byte objects for folders, and a copy in parts loses the metadata."""
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    async with s3.client() as client:
        for key in ("app/", "app/function=x_$folder$", "app/dt=1/_SUCCESS"):
            await client.put_object(Bucket=bucket, Key=key, Body=b"")
        await client.put_object(Bucket=bucket, Key="app/notes.txt", Body=b"hello")
        key = f"app/dt=1/{ENVIRONMENT}-00000001.ndjson.gz"
        await client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(body(1)))
        report = await verify(f"s3://{bucket}/app")
    assert (report.status, report.objects, report.foreign) == (0, 1, ("app/notes.txt",))


@pytest.mark.parametrize("prefix", ["with space", "a+b", "ünï/日本", "a%2Fb", "50%25 off", "team#1", "what?x=1"])
async def test_verify_takes_the_url_of_the_shipper(
    prefix: str, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text after the bucket is the prefix of the keys, without decoding, in all processes."""
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    async with s3.client() as client:
        key = f"{prefix}/{ENVIRONMENT}-00000001.ndjson.gz"
        await client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(body(1)))
        report = await verify(f"s3://{bucket}/{prefix}")
    assert (report.status, report.objects) == (0, 1)
