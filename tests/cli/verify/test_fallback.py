"""`logferry verify --fallback`: the proof over both destinations, copies, and differences."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.both_destinations import ENVIRONMENT, store, stored
from support.command_line import Done, run
from support.stored_logs import store_in_s3

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from logferry.records.model import StoredObject


def verified(
    tmp_path: Path, first: Iterable[StoredObject], second: Iterable[StoredObject], *options: str
) -> tuple[Done, dict[str, Any]]:
    """Verify both destinations; return the result as text and as JSON."""
    urls = [store(tmp_path / "first", first), "--fallback", store(tmp_path / "second", second)]
    done, as_json = run("verify", *urls, *options), run("verify", *urls, *options, "--json")
    assert done.status == as_json.status
    return done, json.loads(as_json.stdout)


def test_segments_of_both_destinations_are_complete_together(tmp_path: Path) -> None:
    """A segment of the fallback destination alone is missing in the first one."""
    first, second = [stored(1), stored(2), stored(4, final=True)], [stored(3, fallback=True)]
    done, report = verified(tmp_path, first, second)
    assert done.status == 0, done.stdout
    assert "COMPLETE: no missing and no duplicate records (4 objects, 16 records, 1 environment)." in done.stdout
    assert f"In the fallback destination file://{tmp_path}/second: 1 object." in done.stdout
    assert report["fallback"] == {
        "destination": f"file://{tmp_path}/second",
        "objects": 1,
        "copies": 0,
        "different": [],
    }
    alone = run("verify", f"file://{tmp_path}/first")
    assert alone.status == 1
    assert "1 segment missing" in alone.stdout


@pytest.mark.parametrize(
    ("form", "compression"), [("ndjson", "gzip"), ("ndjson", "zstd"), ("text", "none"), ("otlp", "gzip")]
)
@pytest.mark.parametrize("was_final", [False, True])
def test_copy_of_a_segment_is_no_fault(tmp_path: Path, form: str, compression: str, was_final: bool) -> None:
    """The first destination may have stored it without a response. The closing lines differ."""
    kind = {"form": form, "compression": compression}
    first = [stored(1, **kind), stored(2, final=True, **kind)]  # type: ignore[arg-type]
    second = [stored(1, fallback=True, **kind), stored(2, fallback=True, final=was_final, **kind)]  # type: ignore[arg-type]
    done, report = verified(tmp_path, first, second)
    assert done.status == 0, done.stdout
    assert "2 objects, 2 of them copies of segments in the first one" in done.stdout
    assert (report["objects"], report["fallback"]["copies"]) == (2, 2)
    assert report["environments"][0]["records"] == 8


@pytest.mark.parametrize("others", [("line of 2", "another line"), ("changed",)])
def test_different_records_in_both_destinations_are_a_fault(tmp_path: Path, others: tuple[str, ...]) -> None:
    """The same segment has the same records, unless something else has written one of the objects."""
    done, report = verified(
        tmp_path, [stored(1), stored(2), stored(3, final=True)], [stored(2, *others, fallback=True)]
    )
    assert done.status == 1
    assert f"Different records in both destinations: segment 2 of {ENVIRONMENT}." in done.stdout
    assert "INCOMPLETE" in done.stdout
    assert report["fallback"]["different"] == [[ENVIRONMENT, 2]]
    assert report["environments"][0]["duplicates"] >= 4


def test_segment_that_is_missing_in_both_is_a_fault(tmp_path: Path) -> None:
    """The fallback destination does not hide a gap."""
    done, report = verified(
        tmp_path, [stored(1), stored(4, final=True)], [stored(1, fallback=True), stored(3, fallback=True)]
    )
    assert done.status == 1
    assert report["environments"][0]["missing_segments"] == [[2, 2]]
    assert report["fallback"]["copies"] == 1


def test_last_segment_in_the_fallback_ends_the_environment(tmp_path: Path) -> None:
    """At SHUTDOWN one failure is sufficient for the fallback destination."""
    _, report = verified(tmp_path, [stored(1)], [stored(2, fallback=True, final=True)])
    assert (report["status"], report["open"]) == (0, 0)


def test_fallback_that_was_never_used_has_no_objects(tmp_path: Path) -> None:
    """The directory sink makes the directory for its first object."""
    first = store(tmp_path / "first", [stored(1, final=True)])
    for options in ((), ("--keys",)):
        done = run("verify", first, "--fallback", f"file://{tmp_path}/never", *options)
        assert done.status == 0, done.stdout
        assert f"In the fallback destination file://{tmp_path}/never: 0 objects." in done.stdout


@pytest.mark.parametrize("damaged", ["first", "second"])
def test_damaged_copy_is_reported_and_hides_nothing(tmp_path: Path, damaged: str) -> None:
    """The intact one proves the records."""
    store(tmp_path / "first", [stored(1), stored(2, final=True)])
    store(tmp_path / "second", [stored(1, fallback=True)])
    path = tmp_path / damaged / stored(1).key
    path.write_bytes(path.read_bytes()[:-30])
    done, report = verified(tmp_path, [], [])
    assert done.status == 2
    assert report["environments"][0]["missing_lines"] == report["environments"][0]["duplicates"] == 0
    assert report["environments"][0]["records"] == 8
    (unreadable,) = report["unreadable"]
    assert unreadable["key"] == (stored(1).key if damaged == "first" else f"file://{path}")


def test_two_objects_of_a_segment_in_the_fallback_are_duplicates(tmp_path: Path) -> None:
    """A copy is one object in each destination."""
    one = stored(2, fallback=True)
    second = [one, one._replace(key=one.key.replace("Z-", "Z-again-"))]
    done, _ = verified(tmp_path, [stored(1), stored(3, final=True)], second)
    assert done.status == 1
    assert "0 segments missing, 0 lines missing, 4 lines duplicated" in done.stdout


def test_copy_under_another_key_is_found_by_its_segment(tmp_path: Path) -> None:
    """LOGFERRY_KEY was changed between both attempts."""
    one = stored(1, fallback=True)
    copy = one._replace(key=f"other/{one.key.rpartition('/')[2]}")
    done, report = verified(tmp_path, [stored(1), stored(2, final=True)], [copy])
    assert done.status == 0, done.stdout
    assert report["fallback"]["copies"] == 1


def test_names_alone_prove_the_segments_of_both(tmp_path: Path) -> None:
    """A segment in both destinations is taken for a copy."""
    first, second = [stored(1), stored(3, final=True)], [stored(1, fallback=True), stored(2, fallback=True)]
    done, report = verified(tmp_path, first, second, "--keys")
    assert done.status == 0, done.stdout
    assert report["fallback"]["copies"] == 1
    one = second[1]
    again = one._replace(key=one.key.replace("Z-", "Z-again-"))
    assert verified(tmp_path, [], [again], "--keys")[0].status == 1


def test_window_and_state_apply_to_both(tmp_path: Path) -> None:
    """Rows of an earlier run stand for objects that a lifecycle rule has deleted since."""
    state = str(tmp_path / "state.parquet")
    first, second = [stored(1), stored(3, final=True)], [stored(2, fallback=True)]
    assert verified(tmp_path, first, second, "--since", "2026-11-21T02:00Z", "--state", state)[0].status == 0
    for each in (tmp_path / "first" / stored(1).key, tmp_path / "second" / second[0].key):
        each.unlink()
        each.with_name(each.name + ".meta.json").unlink()
    assert verified(tmp_path, [], [], "--state", state)[0].status == 0
    assert verified(tmp_path, [], [])[0].status == 1


@pytest.mark.parametrize("nested", ["", "/", "/nested", "/../first"])
def test_fallback_in_the_first_destination_is_a_mistake(tmp_path: Path, nested: str) -> None:
    """Each segment would be a copy of itself, which proves nothing."""
    url = store(tmp_path / "first", [stored(1, final=True)])
    done = run("verify", url, "--fallback", url + nested)
    assert done.status == 2
    assert "are the same place, or one contains the other" in done.stdout


def test_invalid_fallback_is_one_sentence(tmp_path: Path) -> None:
    """The status shows that nothing was verified."""
    first = store(tmp_path / "first", [stored(1, final=True)])
    for options in ((), ("--keys",)):
        done = run("verify", first, "--fallback", "elsewhere", *options)
        assert done.status == 2
        assert "'elsewhere' is not a valid destination" in done.stdout


async def test_both_destinations_in_s3(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two prefixes of a bucket, as in production with two buckets."""
    for name, value in s3.environment(s3.admin).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = [stored(1), stored(2), stored(4, final=True)]
    second = [stored(2, fallback=True), stored(3, fallback=True)]
    await store_in_s3(s3, bucket, [each._replace(key=f"logs/{each.key}") for each in first])
    await store_in_s3(s3, bucket, [each._replace(key=f"fallback/{each.key}") for each in second])
    done = await asyncio.to_thread(
        run, "verify", f"s3://{bucket}/logs", "--fallback", f"s3://{bucket}/fallback/", "--json"
    )
    report = json.loads(done.stdout)
    assert (report["status"], report["objects"]) == (0, 4)
    assert report["fallback"] == {
        "destination": f"s3://{bucket}/fallback",
        "objects": 2,
        "copies": 1,
        "different": [],
    }
