"""`verify --keys`, `--state`, `--function` and `--json`, and the proof of compacted hours."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from logferry.cli.compact.command import Options as CompactOptions
from logferry.cli.compact.command import compact
from logferry.cli.stored_objects import DestinationError
from logferry.cli.verify.command import run_verify
from logferry.cli.verify.names import verify_names
from logferry.cli.verify.options import Options
from logferry.cli.verify.verification import verify
from logferry.cli.verify.window import Window
from support import stored_prefix

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.verify.completeness import Report
    from logferry.emulator.s3_server import S3Server

OBJECTS = 1_000


def found(report: Report) -> list[tuple[str, int | None, int | None, str, int | None]]:
    """Return the faults of a report in the form of `faults.sql`, without those of unreadable objects."""
    rows: list[tuple[str, int | None, int | None, str, int | None]] = []
    for each in report.environments:
        rows += [(each.environment, gap[0], gap[-1], "segments missing", len(gap)) for gap in each.missing_segments]
        if each.duplicates:
            rows.append((each.environment, None, None, "lines duplicated", each.duplicates))
        if each.missing_lines:
            rows.append((each.environment, None, None, "lines missing", each.missing_lines))
    return sorted(rows, key=str)


def test_verify_finds_the_planted_faults(tmp_path: Path) -> None:
    """The report names the objects that SQL finds, and the number of lines without the closing one."""
    prefix = stored_prefix.write(tmp_path, OBJECTS, metadata=False)
    planted = stored_prefix.plant(prefix)
    expected = [row for row in planted if row[3] == "segments missing"]
    for environment, _, _, fault, amount in planted:
        if fault in {"lines duplicated", "lines missing"}:
            assert amount
            # The closing line of a copy is no record.
            expected.append((environment, None, None, fault, amount - (amount == 17)))
    report = asyncio.run(verify(f"file://{tmp_path}"))
    assert found(report) == sorted(expected, key=str)
    cut = [row for row in planted if row[3] == "no closing line"]
    assert len(report.unreadable) == len(cut) == 3
    assert {reason for _, reason in report.unreadable} == {
        "it has no closing line: the object was cut at the end of a line"
    }
    assert report.status == 1
    assert sum(each.lost_segments for each in report.environments) == 2


@pytest.mark.parametrize("metadata", [True, False])
def test_an_intact_prefix_needs_no_complete_check(
    metadata: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each object has the encoder's layout, with and without its metadata."""
    stored_prefix.write(tmp_path, 200, metadata=metadata)
    monkeypatch.setattr("logferry.cli.verify.object_check.check_object", None)
    report = asyncio.run(verify(f"file://{tmp_path}"))
    assert (report.status, report.objects, len(report.environments)) == (0, 200, 10)
    assert sum(each.records for each in report.environments) == 200 * 16


def test_a_copy_of_an_object_is_found(tmp_path: Path) -> None:
    """Both objects of the segment are checked completely."""
    prefix = stored_prefix.write(tmp_path, 200)
    copied = max(prefix.paths)
    (tmp_path / "copy.ndjson.gz").write_bytes(prefix.paths[copied].read_bytes())
    report = asyncio.run(verify(f"file://{tmp_path}"))
    assert found(report) == [(copied[0], None, None, "lines duplicated", 16)]
    assert report.objects == 201


def test_keys_prove_the_segments_without_reading_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only names count, and the report states the limit."""
    prefix = stored_prefix.write(tmp_path, 100)
    for path in prefix.paths.values():
        path.write_bytes(b"unreadable")
    environment = min(prefix.paths)[0]
    options = Options(names_only=True)
    assert run_verify(f"file://{tmp_path}", options) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "COMPLETE: no segment is missing (100 objects, 5 environments)."
    assert "verify them without --keys" in printed
    first_row = printed.splitlines()[1].split()
    assert first_row == [environment, "20", "-", "-", "-", "-", "-", "-"], "nothing else is in a name"
    prefix.remove(environment, 7)
    path = prefix.paths[environment, 9]
    path.with_name(path.name.replace("Z-", "Z-copy-")).write_bytes(b"")
    assert run_verify(f"file://{tmp_path}", options) == 1
    assert "INCOMPLETE: 1 segment missing, 1 object duplicated (100 objects" in capsys.readouterr().out


async def test_keys_of_a_bucket_are_listed_without_a_get(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LIST costs a thousandth of the GETs."""
    for name, value in {**s3.environment(s3.admin), "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    prefix = stored_prefix.write(tmp_path / "logs", 40)
    async with s3.client() as client:
        for path in prefix.paths.values():
            await client.put_object(Bucket=bucket, Key=f"logs/{path.relative_to(prefix.root)}", Body=b"x")

    async def get(*_arguments: object) -> None:
        pytest.fail("an object was read")

    monkeypatch.setattr("logferry.cli.fetch.bucket.Bucket.fetch", get)
    report = await verify_names(f"s3://{bucket}/logs")
    assert (report.status, report.objects, len(report.environments)) == (0, 40, 2)
    assert not any(each.ended for each in report.environments)


def test_state_proves_one_window_after_the_other(tmp_path: Path) -> None:
    """Each run reads its own objects, and the rows of all runs are proven together."""
    prefix = stored_prefix.write(tmp_path / "logs", 60, hours=2)
    state = tmp_path / "segments.parquet"
    early, late = datetime(2026, 11, 29, 7, tzinfo=UTC), datetime(2026, 11, 29, 9, tzinfo=UTC)
    hours: dict[bool, list[Path]] = {True: [], False: []}
    for path in prefix.paths.values():
        hours["hour=06" in str(path)].append(path)
        for each in (path, path.with_name(path.name + ".meta.json")):
            os.utime(each, (early.timestamp(), early.timestamp()) if "hour=06" in str(path) else None)
    assert hours[True]
    assert hours[False]
    url = f"file://{tmp_path}/logs"
    first = asyncio.run(verify(url, Window(until=early), state=state))
    assert first.status == 0
    for path in hours[True]:
        path.unlink()
        path.with_name(path.name + ".meta.json").unlink()
    second = asyncio.run(verify(url, Window(since=early, until=late), state=state))
    assert (second.status, second.objects, second.kept_segments) == (0, len(hours[False]), len(hours[True]))
    environment, segment = max(prefix.paths)
    lost = next(key for key in sorted(prefix.paths) if prefix.paths[key] in hours[False] and key[1] < segment)
    prefix.remove(*lost)
    asyncio.run(verify(url, state=tmp_path / "other.parquet"))
    again = asyncio.run(verify(url, Window(since=early), state=state))
    assert again.status == 0, "its row is known from the run before"
    assert environment in {each.environment for each in again.environments}


def test_rows_of_unreadable_objects_are_not_kept(tmp_path: Path) -> None:
    """A segment that could not be read once is missing until it is read."""
    prefix = stored_prefix.write(tmp_path / "logs", 20)
    state, url = tmp_path / "segments.parquet", f"file://{tmp_path}/logs"
    environment, segment = sorted(prefix.paths)[4]
    path = prefix.paths[environment, segment]
    body = path.read_bytes()
    path.write_bytes(body[:-20])
    assert asyncio.run(verify(url, state=state)).status == 2
    path.unlink()
    path.with_name(path.name + ".meta.json").unlink()
    assert found(asyncio.run(verify(url, state=state))) == [(environment, segment, segment, "segments missing", 1)]
    path.write_bytes(body)
    assert asyncio.run(verify(url, state=state)).status == 0


def test_a_file_that_is_no_state_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """The file of another program is not replaced."""
    stored_prefix.write(tmp_path / "logs", 20)
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    with pytest.raises(DestinationError, match="name another file with --state"):
        asyncio.run(verify(f"file://{tmp_path}/logs", state=other))
    with pytest.raises(DestinationError, match=r"cannot write .*missing/rows.*No such file or directory"):
        asyncio.run(verify(f"file://{tmp_path}/logs", state=tmp_path / "missing" / "rows"))
    assert other.read_text() == "hello"


def test_function_limits_the_objects(tmp_path: Path) -> None:
    """A glob selects functions by the key."""
    stored_prefix.write(tmp_path, 180)
    one = asyncio.run(verify(f"file://{tmp_path}", function="billing"))
    two = asyncio.run(verify(f"file://{tmp_path}", function="orders-*"))
    assert (one.objects, two.objects, one.status, two.status) == (60, 120, 0, 0)


def test_compacted_hours_prove_objects_that_were_deleted(tmp_path: Path) -> None:
    """The raw object of a compacted hour can be missing, and a line fault of a raw object is still found."""
    prefix = stored_prefix.write(tmp_path, 60)
    url = f"file://{tmp_path}"
    asyncio.run(compact(url, CompactOptions(run=True, now=datetime(2026, 11, 29, 12, tzinfo=UTC))))
    environment, segment = sorted(prefix.paths)[3]
    prefix.remove(environment, segment)
    report = asyncio.run(verify(url))
    assert (report.status, report.kept_segments, report.objects) == (0, 1, 59)
    other = sorted(prefix.paths)[5]
    lines = prefix.lines(*other)
    prefix.rewrite(*other, [*lines[:2], *lines[3:]])
    assert found(asyncio.run(verify(url))) == [(environment, None, None, "lines missing", 1)]


def test_a_damaged_manifest_is_unreadable(tmp_path: Path) -> None:
    """Without it, the report would only show missing segments after a deletion."""
    stored_prefix.write(tmp_path, 20)
    url = f"file://{tmp_path}"
    asyncio.run(compact(url, CompactOptions(run=True, now=datetime(2026, 11, 29, 12, tzinfo=UTC))))
    manifest = next((tmp_path / "compact").rglob("_manifest.json"))
    manifest.write_text("{")
    report = asyncio.run(verify(url))
    assert report.status == 2
    ((key, reason),) = report.unreadable
    assert key == str(manifest.relative_to(tmp_path))
    assert "damaged manifest" in reason


def test_json_has_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only JSON is on stdout, and environments without a final object are open."""
    prefix = stored_prefix.write(tmp_path, 40)
    environment = min(prefix.paths)[0]
    prefix.remove(environment, stored_prefix.SEGMENTS)
    prefix.remove(environment, 3)
    assert run_verify(f"file://{tmp_path}", Options(as_json=True)) == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["status"], values["open"], values["objects"]) == (1, 1, 38)
    (faulty,) = [each for each in values["environments"] if each["missing_segments"]]
    assert (faulty["environment"], faulty["missing_segments"], faulty["ended"]) == (environment, [[3, 3]], False)
