"""The DuckDB session: its views over raw objects, compacted hours, and objects that it cannot read."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.fetch.fetch import fetch
from logferry.cli.fetch.selection import Selection
from logferry.cli.query.session import Session
from logferry.cli.query.views import TYPED_COLUMNS
from logferry.cli.verify.window import Window
from logferry.records import zstd_packing
from support.format_1 import COLUMNS
from support.stored_logs import START, invocation, make_object, make_objects, request_id, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.records.model import StoredObject

VIEWS = ("logs", "invocations", "objects", "segments", "faults")


def opened(root: Path, objects: list[StoredObject], selection: Selection | None = None) -> Session:
    """Return a session on a directory with these objects."""
    store_in(root, objects)
    return Session(fetch(f"file://{root}", selection))


def compact(root: Path, dt: str = "2026-11-21", hour: str = "02", function: str = "orders-api") -> None:
    """Write the Parquet file of an hour with its manifest from the rows of the session."""
    folder = root / "compact" / f"function={function}" / f"dt={dt}" / f"hour={hour}"
    folder.mkdir(parents=True, exist_ok=True)
    found = fetch(f"file://{root}")
    with Session(found) as session:
        names = ", ".join(
            ["time AT TIME ZONE 'UTC' AS time", *list(COLUMNS)[1:], *TYPED_COLUMNS, "function", "dt", "hour"]
        )
        session.execute(
            f"COPY (SELECT {names} FROM lines WHERE function = '{function}' AND hour = '{hour}') "  # noqa: S608 - constants
            f"TO '{folder}/logs.parquet' (FORMAT parquet)"
        )
    inputs = [each.raw.listed for each in found.objects if each.raw.place and each.raw.place.hour == hour]
    objects = [[each.name, each.etag, each.size] for each in inputs]
    body = (folder / "logs.parquet").read_bytes()
    parquet = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "etag": "that of another copy"}
    (folder / "_manifest.json").write_text(json.dumps({"objects": objects, "parquet": parquet}))


def test_every_view_has_its_rows(tmp_path: Path) -> None:
    """The views work on the records of the platform, and nothing is faulty."""
    with opened(tmp_path, make_objects(3)) as session:
        assert session.rows("SELECT count(*), count(DISTINCT requestId), min(level) FROM logs") == [(15, 3, "INFO")]
        query = "SELECT requestId, started_at, status, duration_ms, billed_ms, used_mb, lines FROM invocations"
        started = START.replace(tzinfo=None)
        assert session.rows(f"{query} ORDER BY started_at LIMIT 1") == [
            (request_id(0), started, "success", 34.1, 35, 73, 1)
        ]
        assert session.rows(
            "SELECT segment, records, first_time, size > 0, waited IS NOT NULL FROM objects ORDER BY 1"
        ) == [(n + 1, 4, started + timedelta(seconds=n), True, True) for n in range(3)]
        assert session.rows("SELECT segment, lines, final FROM segments ORDER BY 1") == [
            (1, 5, 0),
            (2, 5, 0),
            (3, 5, 1),
        ]
        assert session.rows("FROM faults") == []
        assert session.rows("SELECT DISTINCT function, dt, hour FROM logs") == [("orders-api", "2026-11-21", "02")]


def test_a_missing_object_is_a_fault(tmp_path: Path) -> None:
    """The statements of the proof run over complete objects, also if a window limits the rows."""
    objects = make_objects(4)
    window = Window(since=START + timedelta(seconds=1, milliseconds=10))
    with opened(tmp_path, [objects[0], *objects[2:]], Selection("orders-*", window)) as session:
        assert session.rows("SELECT first_segment, last_segment, fault FROM faults") == [(2, 2, "segments missing")]
        assert session.rows("SELECT min(segment) FROM logs") == [(3,)]


def test_compacted_and_raw_hours_have_the_same_rows_and_no_line_twice(tmp_path: Path) -> None:
    """An hour with a manifest comes from Parquet, and every other one from its objects."""
    later = [each for n in range(2) for each in make_objects(2, start=START + timedelta(hours=1), environment=7 + n)]
    store_in(tmp_path, [*make_objects(5), *later])
    queries = [
        "SELECT * EXCLUDE (segment, line), segment::INT, line::INT FROM logs ORDER BY ALL",
        "FROM invocations ORDER BY ALL",
    ]
    queries += [f"FROM {view} ORDER BY ALL" for view in ("segments", "faults", "objects")]
    with Session(fetch(f"file://{tmp_path}")) as session:
        raw = [session.rows(query) for query in queries]
        types = session.rows("DESCRIBE logs")
    compact(tmp_path)
    found = fetch(f"file://{tmp_path}")
    assert (len(found.compacted), len(found.objects)) == (1, 4)
    with Session(found) as session:
        assert [session.rows(query) for query in queries] == raw
        assert session.rows("DESCRIBE logs") == types
    assert len(fetch(f"file://{tmp_path}", raw_only=True).objects) == 9


def test_a_late_object_is_read_with_the_parquet_file_of_its_hour(tmp_path: Path) -> None:
    """The manifest names the objects in the file, so that each object is read once."""
    store_in(tmp_path, make_objects(2))
    compact(tmp_path)
    store_in(tmp_path, [make_object(invocation(9, START), segment=3)])
    found = fetch(f"file://{tmp_path}")
    assert (len(found.compacted), len(found.objects), found.late) == (1, 1, 1)
    with Session(found) as session:
        assert session.rows("SELECT count(*), count(DISTINCT (segment, line)) FROM logs") == [(15, 15)]
        assert session.rows("SELECT count(waited) FROM objects") == [(3,)]


@pytest.mark.parametrize("manifest", [None, "", "{}", "[]", '{"objects": 7}', '{"objects": []}'])
def test_an_hour_without_a_valid_manifest_is_read_raw(tmp_path: Path, manifest: str | None) -> None:
    """A compaction that was interrupted before the manifest has no effect, and a damaged manifest is named."""
    store_in(tmp_path, make_objects(3))
    compact(tmp_path)
    path = next(tmp_path.rglob("_manifest.json"))
    path.unlink() if manifest is None else path.write_text(manifest)
    found = fetch(f"file://{tmp_path}")
    assert (len(found.compacted), len(found.objects), found.late) == (0, 3, 0)
    named = manifest not in {None, '{"objects": []}'}  # the last one is that of another file
    assert [key.endswith("_manifest.json") for key, _ in found.unreadable] == [True] * named


def test_objects_that_were_deleted_after_the_compaction_are_known(tmp_path: Path) -> None:
    """The manifest has their names and sizes. Their time in S3 is gone."""
    store_in(tmp_path, make_objects(2))
    compact(tmp_path)
    for path in (tmp_path / "function=orders-api").rglob("*.gz"):
        path.unlink()
    with Session(fetch(f"file://{tmp_path}")) as session:
        query = "SELECT count(*), count(size), count(first_time), count(stored_at) FROM objects"
        assert session.rows(query) == [(2, 2, 2, 0)]


@pytest.mark.parametrize("damaged", [b"a,b\n1,2\n", b'{"time":"2026-11-21T02:10:00Z","line":"x"}\n', b'{"time":'])
def test_an_object_that_duckdb_cannot_read_is_named_and_hides_no_other(tmp_path: Path, damaged: bytes) -> None:
    """Its gzip data are correct, so that only the reader of the lines finds it."""
    name = "function=orders-api/dt=2026-11-21/hour=02/021000Z-00000000000000ff-00000001.ndjson.gz"
    odd = make_object([])._replace(key=name, body=gzip.compress(damaged * 3))
    with opened(tmp_path, [*make_objects(20), odd]) as session:
        assert session.rows("SELECT count(requestId), max(line), max(message) IS NULL FROM logs") == [(80, 5, False)]
        ((key, reason),) = session.unreadable
        assert key == name
        assert reason
        assert session.rows("SELECT count(*) FROM objects") == [(20,)]


def test_a_damaged_object_is_excluded_while_rows_are_fetched(tmp_path: Path) -> None:
    """DuckDB returns the first rows of many objects before it has read the last one."""
    name = "function=orders-api/dt=2026-11-21/hour=23/230000Z-00000000000000ff-00000001.ndjson.gz"
    odd = make_object([])._replace(key=name, body=gzip.compress(b'{"time":\n'))
    with opened(tmp_path, [*make_objects(600), odd]) as session:
        assert len(session.rows("SELECT * FROM lines")) == 3000
        assert [key for key, _ in session.unreadable] == [name]


def test_a_parquet_file_with_another_manifest_is_not_read(tmp_path: Path) -> None:
    """A compaction that ended between the two files has written the objects of the hour into the first one only."""
    store_in(tmp_path, make_objects(3))
    compact(tmp_path)
    parquet, manifest = next(tmp_path.rglob("logs.parquet")), next(tmp_path.rglob("_manifest.json"))
    old = manifest.read_bytes()
    store_in(tmp_path, [make_object(invocation(9, START), segment=4)])
    for path in (parquet, manifest):
        path.unlink()
    compact(tmp_path)
    manifest.write_bytes(old)
    found = fetch(f"file://{tmp_path}")
    assert (len(found.compacted), len(found.objects), found.late) == (0, 4, 0)


def test_a_damaged_parquet_file_is_named_and_hides_no_other(tmp_path: Path) -> None:
    """The rows of all other hours stay."""
    store_in(tmp_path, [*make_objects(30), *make_objects(2, start=START + timedelta(hours=1), environment=7)])
    compact(tmp_path)
    path = next(tmp_path.rglob("logs.parquet"))
    found = fetch(f"file://{tmp_path}")
    path.write_bytes(path.read_bytes()[:-7])  # after the fetch, which compares the size
    with Session(found) as session:
        assert session.rows("SELECT count(*), count(DISTINCT message) FROM logs") == [(10, 2)]
        ((key, reason),) = session.unreadable
        assert key.endswith("hour=02/logs.parquet")
        assert reason.endswith("; delete its manifest, and run `logferry compact`")


def test_an_error_of_the_query_is_no_damaged_object(tmp_path: Path) -> None:
    """A cast of the user that fails excludes nothing."""
    with opened(tmp_path, make_objects(2)) as session:
        with pytest.raises(Exception, match="Could not convert"):
            session.rows("SELECT type::INT FROM logs")
        assert session.unreadable == []
        assert session.rows("SELECT count(*) FROM logs") == [(10,)]


def test_a_line_longer_than_the_default_of_duckdb_is_read(tmp_path: Path) -> None:
    """A record can be larger than 16 MiB. The session then reads again with larger buffers."""
    large = make_object([{"time": "2026-11-21T02:10:00.000Z", "type": "function", "record": "x" * (17 << 20)}])
    with opened(tmp_path, [large, *make_objects(1, environment=2)]) as session:
        assert session.rows("SELECT max(length(message)) FROM logs") == [(17 << 20,)]
        assert session.unreadable == []


def test_objects_of_another_program_have_no_rows(tmp_path: Path) -> None:
    """JSON lines without a place are in no view of records, and their object is named."""
    other = make_object([])._replace(key="exports/orders.json", body=b'{"a":1}\n{"time":null}\n')
    text = make_object([])._replace(key="exports/orders.csv.gz", body=gzip.compress(b"a,b\n1,2\n"))
    with opened(tmp_path, [other, text, *make_objects(1)]) as session:
        assert session.rows("SELECT count(*) FROM logs") == [(5,)]
        assert session.unreadable == []
    assert fetch(f"file://{tmp_path}").foreign == [text.key, other.key]


def test_another_key_template_has_the_function_of_the_closing_line(tmp_path: Path) -> None:
    """Without partitions in the key, function and hour come from the content."""
    objects = [
        make_object(invocation(n, START), function=name, environment=n, key="{environment}-{segment}.ndjson")
        for n, name in enumerate(("a-one", "b-two"), 1)
    ]
    with opened(tmp_path, objects, Selection("b-*")) as session:
        assert session.rows("SELECT DISTINCT function, dt, hour FROM logs") == [("b-two", "2026-11-21", "02")]


def test_a_destination_without_objects_has_empty_views(tmp_path: Path) -> None:
    """The views exist with their columns."""
    with opened(tmp_path, []) as session:
        for view in VIEWS:
            assert session.rows(f"FROM {view}") == []


def test_paths_with_pattern_characters_are_read(tmp_path: Path) -> None:
    """DuckDB reads brackets and asterisks in a path as a pattern."""
    with opened(tmp_path / "a[b]*c?'d", make_objects(2)) as session:
        assert session.rows("SELECT count(*) FROM logs") == [(10,)]
        assert session.rows("SELECT count(records) FROM objects") == [(2,)]


def test_times_are_utc_whatever_the_zone_of_the_machine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time in the window or in a result is never local."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    with opened(tmp_path, make_objects(1)) as session:
        assert session.rows("SELECT min(time) FROM logs") == [(datetime(2026, 11, 21, 2, 10),)]  # noqa: DTZ001 - as DuckDB returns it


def test_the_session_installs_no_extension(tmp_path: Path) -> None:
    """DuckDB would download one for a query of an S3 URL."""
    with opened(tmp_path, make_objects(1)) as session, pytest.raises(Exception, match="httpfs"):
        session.rows("SELECT * FROM read_json('s3://bucket/a.json')")


def test_records_that_duckdb_cannot_parse_are_rows(tmp_path: Path) -> None:
    """JSON text that a function logs makes no query fail."""
    lines = ['{"level":', {"level": "error", "message": "x"}, "\t[WARN]\t", {"level": ["x"]}, 7]
    with opened(tmp_path, [make_object(invocation(0, START, lines))]) as session:
        query = "SELECT level FROM logs WHERE type = 'function' ORDER BY line"
        assert [level for (level,) in session.rows(query)] == [None, "ERROR", "WARN", json.dumps(["x"]).upper(), None]


def test_objects_of_each_compression_are_read_together(tmp_path: Path) -> None:
    """A prefix can have objects from before and after a change of LOGFERRY_COMPRESSION."""
    packed, zipped, plain = make_objects(3)
    packer = zstd_packing.packing().make()
    body = packer.compress(gzip.decompress(packed.body)) + packer.flush()
    stem = len(".gz")
    objects = [
        packed._replace(key=packed.key[:-stem] + ".zst", body=body),
        zipped,
        plain._replace(key=plain.key[:-stem], body=gzip.decompress(plain.body)),
    ]
    with opened(tmp_path, objects) as session:
        assert session.rows("SELECT count(DISTINCT requestId) FROM logs") == [(3,)]
        assert session.rows("FROM faults") == []
