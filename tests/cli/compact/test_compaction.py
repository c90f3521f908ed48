"""Compaction: idempotent, refused for a fault, safe at any kill, and equal to the raw objects."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from logferry.cli.compact import directory_store as store_module
from logferry.cli.compact.command import Options, Report, compact, run_compact
from logferry.cli.fetch.fetch import fetch
from logferry.cli.fetch.selection import Selection
from logferry.cli.query.session import Session
from logferry.cli.verify.verification import verify
from support import stored_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.emulator.s3_server import S3Server

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
"""All hours are over, and the day is not."""
NEXT_DAY = datetime(2026, 11, 30, 3, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(days=400)
"""After every grace period, by the clock of the files too."""
OBJECTS = 120


def run(root: Path, now: datetime = NOON, **options: Any) -> Report:
    """Compact a directory."""
    return asyncio.run(compact(f"file://{root}", Options(**{"run": True, "now": now, **options})))


def files(root: Path) -> dict[str, bytes]:
    """Return the compacted files with their content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "compact").rglob("*"))
        if path.is_file()
    }


def raw(root: Path) -> dict[str, bytes]:
    """Return the raw objects with their content."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*.gz"))}


def rows(root: Path, *, raw_only: bool) -> list[tuple[Any, ...]]:
    """Return all rows as `logferry query` reads them."""
    with Session(fetch(f"file://{root}", Selection(), raw_only=raw_only)) as session:
        return session.rows(
            "SELECT time, type, message, record, event, requestId, requestIdSource, environment, segment, line, level, "
            "duration_ms, function, dt, hour FROM logs ORDER BY environment, segment, line"
        )


@pytest.fixture
def prefix(tmp_path: Path) -> stored_prefix.Prefix:
    """Return a prefix without faults."""
    return stored_prefix.write(tmp_path / "logs", OBJECTS)


def test_a_dry_run_writes_nothing(prefix: stored_prefix.Prefix) -> None:
    """Without `--run`, the report shows what is due."""
    report = run(prefix.root, run=False)
    assert report.is_dry
    assert sum(len(each.new) for each in report.planned) == len(prefix.paths)
    assert not (prefix.root / "compact").exists()


def test_compacted_rows_are_the_raw_rows(prefix: stored_prefix.Prefix) -> None:
    """A query has the same rows from Parquet and from raw objects."""
    before = rows(prefix.root, raw_only=True)
    report = run(prefix.root)
    assert report.status == 0
    assert {each.plan.partition for each in report.result.written} == {each.partition for each in report.planned}
    assert sum(each.rows for each in report.result.written) == len(before) == len(prefix.paths) * 17
    assert rows(prefix.root, raw_only=False) == before
    assert {row[10] for row in before} >= {"INFO", "ERROR", None}
    assert any(row[11] for row in before)


def test_the_second_run_writes_nothing_and_a_late_object_changes_one_file(prefix: stored_prefix.Prefix) -> None:
    """The manifest names the inputs, so that only a partition with another object is due."""
    environment, segment = max(prefix.paths)
    late = prefix.paths[environment, segment]
    body = late.read_bytes()
    late.unlink()
    run(prefix.root)
    first = files(prefix.root)
    assert run(prefix.root).result.written == []
    assert files(prefix.root) == first
    late.write_bytes(body)
    report = run(prefix.root)
    (written,) = report.result.written
    assert [each.name.endswith(late.name) for each in written.plan.new] == [True]
    changed = {name for name, content in files(prefix.root).items() if first[name] != content}
    assert changed == {f"{written.plan.partition.folder}/{name}" for name in ("logs.parquet", "_manifest.json")}
    assert rows(prefix.root, raw_only=False) == rows(prefix.root, raw_only=True)


@pytest.mark.parametrize("fault", ["removed line", "doubled line", "cut at a line end", "cut gzip", "copy", "no JSON"])
def test_a_partition_with_a_fault_is_refused_and_its_neighbours_are_written(
    fault: str, prefix: stored_prefix.Prefix
) -> None:
    """The refusal names the object, and nothing of the partition is written."""
    environment, segment = sorted(prefix.paths)[5]
    path = prefix.paths[environment, segment]
    lines = prefix.lines(environment, segment)
    match fault:
        case "removed line":
            prefix.rewrite(environment, segment, [*lines[:3], *lines[4:]])
        case "doubled line":
            prefix.rewrite(environment, segment, [*lines[:3], *lines[2:]])
        case "cut at a line end":
            prefix.rewrite(environment, segment, lines[:-1])
        case "cut gzip":
            stored_prefix.cut_gzip(prefix, environment, segment)
        case "copy":
            path.with_name(path.name.replace("Z-", "Z-copy-")).write_bytes(path.read_bytes())
        case _:
            prefix.rewrite(environment, segment, [lines[0], b"junk", *lines[2:]])
    report = run(prefix.root)
    ((partition, reason),) = report.result.refused
    assert report.status == 1
    assert path.name in reason
    assert len(report.result.written) == len(report.planned) - 1
    assert not (prefix.root / partition.folder).exists()


def test_hours_that_are_not_over_for_the_grace_are_left_alone(prefix: stored_prefix.Prefix) -> None:
    """Objects of an hour can be stored late."""
    hours = []
    for hour, minute in ((9, 59), (10, 0), (10, 59), (11, 0)):
        report = run(prefix.root, now=datetime(2026, 11, 29, hour, minute, tzinfo=UTC))
        hours.append({each.plan.partition.hour for each in report.result.written})
    assert hours == [set(), {"07"}, set(), {"08"}]


def test_the_hours_of_a_day_that_is_over_become_one_file(prefix: stored_prefix.Prefix) -> None:
    """The day has the rows of its hours, and a late object changes the file of the day."""
    before = rows(prefix.root, raw_only=True)
    run(prefix.root)
    report = run(prefix.root, NEXT_DAY)
    assert {each.plan.partition.hour for each in report.result.written} == {""}
    assert not [name for name in files(prefix.root) if "hour=" in name]
    assert rows(prefix.root, raw_only=False) == before
    assert run(prefix.root, NEXT_DAY).result.written == []
    environment, segment = max(prefix.paths)
    again = prefix.paths[environment, segment]
    again.write_bytes(gzip.compress(gzip.decompress(again.read_bytes()), compresslevel=1))
    (written,) = run(prefix.root, NEXT_DAY).result.written
    assert written.plan.partition.hour == ""
    assert rows(prefix.root, raw_only=False) == before


def test_hours_and_their_day_are_not_read_twice(prefix: stored_prefix.Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill between the file of the day and the removal of the hours, both exist."""
    before = rows(prefix.root, raw_only=True)
    run(prefix.root)

    async def nothing(_self: object, _objects: object) -> list[tuple[str, str]]:
        return []

    with monkeypatch.context() as patch:
        patch.setattr(store_module.DirectoryStore, "delete", nothing)
        run(prefix.root, NEXT_DAY)
    assert [name for name in files(prefix.root) if "hour=" in name]
    assert rows(prefix.root, raw_only=False) == before
    run(prefix.root, NEXT_DAY)
    assert not [name for name in files(prefix.root) if "hour=" in name]


class KilledError(BaseException):
    """The end of the process at one step."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Count the changes of the file system, and end the run before the one with the number `kill_at`."""
    counts = {"done": 0, "kill_at": 0}

    def counted(original: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            counts["done"] += 1
            if counts["done"] == counts["kill_at"]:
                raise KilledError
            return original(*arguments, **named)

        return call

    monkeypatch.setattr(store_module, "_copy", counted(store_module._copy))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    yield counts
    counts["kill_at"] = 0


def test_a_kill_at_any_step_leaves_whole_files_and_raw_objects(tmp_path: Path, steps: dict[str, int]) -> None:
    """After each kill, a query has the right rows, and the next run completes the work."""
    prefix = stored_prefix.write(tmp_path, 20, hours=2)
    before, objects = rows(tmp_path, raw_only=True), raw(tmp_path)
    for moment in (NOON, NEXT_DAY):
        for kill_at in range(1, 100):
            steps.update(done=0, kill_at=kill_at)
            try:
                report = run(tmp_path, moment)
            except KilledError:
                steps["kill_at"] = 0
                assert raw(tmp_path) == objects
                assert rows(tmp_path, raw_only=False) == before
                continue
            assert report.status == 0
            break
        else:
            pytest.fail("the run has more steps than expected")
    steps["kill_at"] = 0
    assert rows(tmp_path, raw_only=False) == before
    assert raw(tmp_path) == objects
    assert len(prefix.paths) == 20


KILLED_AT_THE_SECOND_RENAME = """
import os, pathlib, signal, sys
original, count = pathlib.Path.replace, []
def replace(self, target):
    count.append(target)
    if len(count) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, target)
pathlib.Path.replace = replace
from logferry.cli.main import main
main()
"""


def test_a_killed_process_leaves_a_prefix_that_the_next_run_completes(prefix: stored_prefix.Prefix) -> None:
    """The file was renamed, and its manifest was not."""
    before = rows(prefix.root, raw_only=True)
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_RENAME, "compact", f"file://{prefix.root}", "--run"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == -9, done.stderr
    assert [name for name in files(prefix.root) if name.endswith("logs.parquet")]
    assert not [name for name in files(prefix.root) if name.endswith("_manifest.json")]
    assert rows(prefix.root, raw_only=False) == before
    assert run(prefix.root).status == 0
    assert rows(prefix.root, raw_only=False) == before


def test_raw_objects_are_deleted_only_if_everything_is_proven(prefix: stored_prefix.Prefix) -> None:
    """A gap in any hour keeps all objects of its environment, and the grace keeps all."""
    environments = sorted({name for name, _ in prefix.paths})
    prefix.remove(environments[0], 2)
    before = rows(prefix.root, raw_only=True)
    run(prefix.root)
    objects = raw(prefix.root)
    young = run(prefix.root, delete_proven=True)
    assert young.deletion.objects == []
    assert {reason for _, reason in young.deletion.kept} == {"its file is younger than the grace period of deletions"}
    assert raw(prefix.root) == objects
    report = run(prefix.root, LATER, delete_proven=True)
    reasons = [reason for _, reason in report.deletion.kept]
    assert reasons
    assert all(reason == f"segment 2 of environment {environments[0]}: segments missing" for reason in reasons)
    held = [name for name in objects if environments[0] in name]
    assert set(held) <= raw(prefix.root).keys() < objects.keys()
    assert rows(prefix.root, raw_only=False) == before
    assert run(prefix.root, LATER).result.written == []


def test_an_environment_without_faults_is_deleted_and_still_verified(prefix: stored_prefix.Prefix) -> None:
    """The rows of the manifests prove the deleted objects, and a late object adds to the file."""
    before = rows(prefix.root, raw_only=True)
    run(prefix.root)
    environment, segment = sorted(prefix.paths)[7]
    body = prefix.paths[environment, segment].read_bytes()
    report = run(prefix.root, LATER, delete_proven=True)
    assert len(report.deletion.objects) == len(before) // 17
    assert raw(prefix.root) == {}
    assert not list((prefix.root / "function=billing").rglob("*.meta.json"))
    assert rows(prefix.root, raw_only=False) == before
    found = asyncio.run(verify(f"file://{prefix.root}"))
    assert (found.status, found.objects, found.kept_segments) == (0, 0, len(prefix.paths))
    assert run(prefix.root, LATER, delete_proven=True).result.written == []
    # The same object again, as after a restored backup: it replaces its own segment.
    path = prefix.paths[environment, segment]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    assert [len(each.plan.new) for each in run(prefix.root, LATER).result.written] == [1]
    assert rows(prefix.root, raw_only=False) == before


def test_an_object_that_changed_after_the_compaction_is_not_deleted(
    prefix: stored_prefix.Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delete names what was read."""
    run(prefix.root)
    path = next(iter(prefix.paths.values()))
    original = store_module.DirectoryStore.delete

    async def change_first(self: Any, objects: Any) -> Any:
        path.write_bytes(path.read_bytes())
        return await original(self, objects)

    with monkeypatch.context() as patch:
        patch.setattr(store_module.DirectoryStore, "delete", change_first)
        report = run(prefix.root, LATER, delete_proven=True)
    assert [(name.endswith(path.name), reason) for name, reason in report.not_deleted] == [
        (True, "it has changed since it was read")
    ]
    assert [*raw(prefix.root)] == [str(path)]


def test_a_damaged_manifest_stops_its_partition(prefix: stored_prefix.Prefix) -> None:
    """Without the manifest it is not known whether the raw objects are complete."""
    run(prefix.root)
    manifest = next((prefix.root / "compact").rglob("_manifest.json"))
    manifest.write_text('{"format": 1}')
    report = run(prefix.root)
    ((partition, reason),) = report.result.refused
    assert str(manifest.parent.relative_to(prefix.root)) == partition.folder
    assert "damaged manifest" in reason
    assert "delete it if all raw objects exist" in reason


def test_parquet_has_the_documented_columns(prefix: stored_prefix.Prefix) -> None:
    """Times are instants, places are integers, and typed columns have their types."""
    run(prefix.root)
    path = next((prefix.root / "compact").rglob("logs.parquet"))
    columns = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning=false)", [str(path)]).fetchall()
    described = {row[0]: row[1] for row in columns}
    assert described["time"] == "TIMESTAMP WITH TIME ZONE"
    assert described["segment"] == described["line"] == described["memory_mb"] == "INTEGER"
    assert described["duration_ms"] == "DOUBLE"
    assert described["billed_ms"] == "BIGINT"
    codecs = duckdb.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(path)]).fetchall()
    assert codecs == [("ZSTD",)]
    manifest = json.loads(path.with_name("_manifest.json").read_bytes())
    assert manifest["parquet"]["size"] == path.stat().st_size


def test_the_command_prints_one_result_and_json(
    prefix: stored_prefix.Prefix, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is the result, and `--json` prints values."""
    url = f"file://{prefix.root}"
    assert run_compact(url, Options(now=NOON), as_json=False, yes=False) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("DRY RUN: nothing was changed. With --run, this writes")
    assert run_compact(url, Options(now=NOON, run=True), as_json=True, yes=False) == 0
    values = json.loads(capsys.readouterr().out)
    assert sum(each["rows"] for each in values["written"]) == len(prefix.paths) * 17
    assert run_compact(url, Options(now=NOON, run=True), as_json=False, yes=False) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("COMPACTED: 0 files written, 0 refused")
    assert run_compact("file:///nowhere/at/all", Options(), as_json=False, yes=False) == 2


def test_objects_of_another_key_template_are_ignored_with_a_reason(
    prefix: stored_prefix.Prefix, capsys: pytest.CaptureFixture[str]
) -> None:
    """A partition is the function and the hour in the key."""
    path = next(iter(prefix.paths.values()))
    path.rename(prefix.root / path.name)
    assert run_compact(f"file://{prefix.root}", Options(now=NOON), as_json=False, yes=False) == 0
    assert "Ignored: 1 object without function, date and hour in the key" in capsys.readouterr().out


async def test_compaction_of_a_real_bucket_writes_reads_back_and_deletes(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are those of the directory, and an object that changed is kept."""
    for name, value in {**s3.environment(s3.admin), "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    prefix = stored_prefix.write(tmp_path / "logs", 40)
    async with s3.client() as client:
        for path in prefix.paths.values():
            key = f"logs/{path.relative_to(prefix.root)}"
            await client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        url = f"s3://{bucket}/logs"
        report = await compact(url, Options(run=True, now=NOON))
        assert (report.status, report.result.refused) == (0, [])
        assert sum(each.rows for each in report.result.written) == len(prefix.paths) * 17
        assert (await compact(url, Options(run=True, now=NOON))).result.written == []
        changed = f"logs/{next(iter(prefix.paths.values())).relative_to(prefix.root)}"
        await client.put_object(Bucket=bucket, Key=changed, Body=b"changed after the compaction")
        report = await compact(url, Options(run=True, now=LATER, delete_proven=True))
        listed = await client.list_objects_v2(Bucket=bucket, Prefix="logs/function=")
    assert [entry["Key"] for entry in listed["Contents"]] == [changed]
    assert len(report.deletion.objects) == len(prefix.paths) - 1
    ((partition, reason),) = report.result.refused
    assert changed.startswith(f"logs/function={partition.function}/")
    assert "damaged gzip data" in reason
