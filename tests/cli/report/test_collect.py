"""Data of the report: equal to what an independent reader counts in the same objects."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.compact.command import Options, compact
from logferry.cli.fetch.fetch import fetch
from logferry.cli.fetch.selection import Selection
from logferry.cli.query.session import Session
from logferry.cli.report import collect as collecting
from logferry.cli.report import view_model as view_models
from logferry.cli.report.collect import collect
from logferry.cli.report.model_values import INVOCATION, OBJECT
from logferry.cli.report.view_model import Subject, view_model
from logferry.cli.verify.window import Window
from support import stored_prefix
from support.format_1 import read_lines
from support.report_pages import SMALL
from support.stored_functions import START_MS, Fleet, store

if TYPE_CHECKING:
    from pathlib import Path

START = datetime.fromtimestamp(START_MS / 1000, UTC)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with the objects of three functions."""
    folder = tmp_path_factory.mktemp("objects")
    store(folder, SMALL)
    return folder


def model_of(root: Path, selection: Selection | None = None) -> Any:
    """Return the view model of a directory, or None without records."""
    selection = selection or Selection()
    with Session(fetch(f"file://{root}", selection)) as session:
        found = collect(session, selection)
        return found and view_model(Subject(f"file://{root}", None, None, None, START_MS, "1"), found)


def lines_of(root: Path) -> list[dict[str, Any]]:
    """Return all lines below a directory, with the function of their path."""
    return [
        line | {"function": path.relative_to(root).parts[0].removeprefix("function=")}
        for path in sorted(root.rglob("*.gz"))
        for line in read_lines(path.read_bytes())
    ]


def test_totals_are_those_of_an_independent_reader(root: Path) -> None:
    """Invocations, failures, cold starts, objects, bytes and records are counted in Python too."""
    lines = lines_of(root)
    reports = {line["requestId"]: json.loads(line["record"]) for line in lines if line["type"] == "platform.report"}
    started = {line["requestId"] for line in lines if line["type"] in {"platform.start", "platform.runtimeDone"}}
    files = list(root.rglob("*.gz"))
    totals = model_of(root)["totals"]
    assert totals["invocations"] == len(started | set(reports))
    assert totals["cold"] == sum("initDurationMs" in report["metrics"] for report in reports.values())
    statuses = {line["requestId"]: json.loads(line["record"])["status"] for line in lines if line["type"] in
                {"platform.runtimeDone", "platform.report"}}  # fmt: skip
    assert totals["failed"] == sum(status != "success" for status in statuses.values()) > 0
    assert totals["objects"] == len(files)
    assert totals["size"] == sum(path.stat().st_size for path in files)
    assert totals["records"] == sum(not line["type"].startswith("logferry.") for line in lines)
    assert totals["environments"] == len({line["environment"] for line in lines})
    assert totals["open"] == 1


def test_functions_and_errors_are_counted_separately(root: Path) -> None:
    """The totals of the functions add up, and so do the bins of their histograms."""
    model = model_of(root)
    lines = lines_of(root)
    expected = Counter(function for function, _ in {(x["function"], x["requestId"]) for x in lines if "requestId" in x})
    assert {one["name"]: one["invocations"] for one in model["functions"]} == expected
    for one in model["functions"]:
        assert sum(count for _, count, _ in one["activity"]) == one["invocations"]
        assert sum(failed for *_, failed in one["activity"]) == one["failed"]
        assert sum(count for _, count in one["waits"]) == one["objects"]
    assert sum(one["times"] for one in model["errors"]) == model["totals"]["failed"]


def test_lane_has_each_invocation_and_object_of_its_environment(root: Path) -> None:
    """The marks are those of the lines, in milliseconds since the beginning of the window."""
    model = model_of(root)
    lines = lines_of(root)
    lane = model["lanes"][-1]
    own = [line for line in lines if line["environment"] == lane["environment"]]
    marks = [dict(zip(INVOCATION, mark, strict=False)) for mark in lane["invocation_marks"]]
    assert {mark["request_id"] for mark in marks} == {line["requestId"] for line in own if "requestId" in line}
    start = next(line for line in own if line["type"] == "platform.start")
    first = next(mark for mark in marks if mark["request_id"] == start["requestId"])
    at = datetime.fromisoformat(start["time"]).timestamp() * 1000
    assert model["window"]["start"] + first["start"] == round(at)
    objects = [dict(zip(OBJECT, mark, strict=True)) for mark in lane["object_marks"]]
    assert [one["segment"] for one in objects] == sorted({line["segment"] for line in own})
    for one in objects:
        path = root / one["key"]
        assert one["size"] == path.stat().st_size
        assert abs(model["window"]["start"] + one["stored"] - path.stat().st_mtime * 1000) <= 1
        assert one["first"] <= one["last"] <= one["stored"]


def test_report_gives_the_start_of_an_invocation_whose_object_is_missing(root: Path) -> None:
    """The report of the last invocation of a removed object is in the next object."""
    by_request: dict[str, list[dict[str, Any]]] = {}
    for line in lines_of(root):
        by_request.setdefault(line.get("requestId", ""), []).append(line)
    ((request, (line,)),) = [
        (request, lines)
        for request, lines in by_request.items()
        if request and {line["type"] for line in lines} == {"platform.report"}
    ]
    model = model_of(root)
    marks = [dict(zip(INVOCATION, mark, strict=False)) for lane in model["lanes"] for mark in lane["invocation_marks"]]
    (mark,) = [mark for mark in marks if mark["request_id"] == request]
    ended = datetime.fromisoformat(line["time"]).timestamp() * 1000
    assert abs(model["window"]["start"] + mark["start"] + mark["took"] - ended) <= 1


def test_records_of_functions_alone_have_invocations_without_durations(tmp_path: Path) -> None:
    """With `LOGFERRY_TYPES=function` there are no reports, so neither durations nor results are known."""
    store(tmp_path, [Fleet("api", 1, 8, types=frozenset({"function"}))])
    model = model_of(tmp_path)
    assert model["totals"]["p99"] is None
    assert (model["totals"]["failed"], model["totals"]["cold"]) == (0, 0)
    assert model["totals"]["lines"] == model["totals"]["records"] > 8
    assert model["slowest"] == []


@pytest.mark.parametrize(("initialization", "cold"), [("on-demand", 3), ("provisioned-concurrency", 0)])
def test_first_invocation_after_an_init_phase_on_demand_is_a_cold_start(
    tmp_path: Path, initialization: str, cold: int
) -> None:
    """It counts although the report does not state the duration of the Init phase."""
    store(tmp_path, [Fleet("api", 3, 6, initialization=initialization, states_init=False)])
    model = model_of(tmp_path)
    assert model["totals"]["cold"] == cold
    for lane in model["lanes"]:
        marks = [dict(zip(INVOCATION, mark, strict=False)) for mark in lane["invocation_marks"]]
        assert [mark["init"] is not None for mark in marks] == [cold > 0, *[False] * 5]


def test_planted_hole_lies_between_the_objects_around_it(root: Path) -> None:
    """Two removed segments are one fault of the lane on top."""
    model = model_of(root)
    (fault,) = model["faults"]
    lane = model["lanes"][0]
    assert (fault["kind"], fault["first_segment"], fault["last_segment"], fault["count"]) == (
        "segments missing",
        4,
        5,
        2,
    )
    assert lane["environment"] == fault["environment"]
    assert lane["faults"] == [0]
    objects = {mark[0]: dict(zip(OBJECT, mark, strict=True)) for mark in lane["object_marks"]}
    assert (fault["from"], fault["to"]) == (objects[3]["last"], objects[6]["first"])
    assert model["proof"] == {"result": "incomplete", "faults": 1, "unreadable": 0, "lost_records": 0}


def test_faults_are_those_of_the_proof(tmp_path: Path) -> None:
    """Every kind of fault that the proof finds is in the report, and a reported loss is not a fault."""
    prefix = stored_prefix.write(tmp_path, 400, lines=6)
    expected = stored_prefix.plant(prefix)
    model = model_of(tmp_path)
    columns = ("environment", "first_segment", "last_segment", "kind", "count")
    found = [tuple(fault[name] for name in columns) for fault in model["faults"]]
    assert sorted(found, key=lambda row: (row[0], row[1], row[3])) == expected
    assert all(fault["from"] <= fault["to"] for fault in model["faults"])
    assert [(loss["first_segment"], loss["last_segment"], loss["records"]) for loss in model["losses"]] == [
        (14, 15, 32)
    ]


def test_unreadable_object_is_named_and_is_no_missing_segment(tmp_path: Path) -> None:
    """The rest of the report is complete."""
    store(tmp_path, [Fleet("api", 1, 12)])
    second = sorted(tmp_path.rglob("*.gz"))[1]
    second.write_bytes(second.read_bytes()[:-40])
    model = model_of(tmp_path)
    assert model["proof"]["result"] == "unreadable"
    assert [key for key, _ in model["unreadable"]] == [str(second.relative_to(tmp_path))]
    assert model["faults"] == []


def test_window_limits_records_and_makes_no_false_gap(root: Path) -> None:
    """Segments before the window are not fetched, and this is no fault."""
    since, until = START + timedelta(minutes=20), START + timedelta(minutes=30)
    model = model_of(root, Selection("orders-*", Window(since, until)))
    assert {one["name"] for one in model["functions"]} == {"orders-api", "orders-web"}
    starts = [mark[0] + model["window"]["start"] for lane in model["lanes"] for mark in lane["invocation_marks"]]
    assert starts
    assert min(starts) >= since.timestamp() * 1000
    assert max(starts) <= until.timestamp() * 1000
    assert not [fault for fault in model["faults"] if fault["first_segment"] == 1]


@pytest.mark.parametrize("deleted", [False, True], ids=["raw objects kept", "raw objects deleted"])
def test_compacted_hours_give_the_same_report(root: Path, tmp_path: Path, *, deleted: bool) -> None:
    """Parquet has all records, and its manifest has keys and sizes. The time of storage is that of the raw object."""
    copied = tmp_path / "copied"
    shutil.copytree(root, copied)
    done = asyncio.run(compact(f"file://{copied}", Options(run=True, now=START + timedelta(days=3))))
    assert done.status == 0
    if deleted:
        for path in copied.rglob("*.ndjson.gz*"):
            path.unlink()
    expected, model = model_of(root), model_of(copied)
    waited = {"wait_p50", "wait_max"} if deleted else set()
    assert {name for name, value in model["totals"].items() if value != expected["totals"][name]} == waited
    for name in ("faults", "errors", "failed", "slowest"):
        assert model[name] == expected[name], name
    stored = OBJECT.index("stored")
    for lane, other in zip(model["lanes"], expected["lanes"], strict=True):
        assert lane["invocation_marks"] == other["invocation_marks"]
        assert lane["phase_marks"] == other["phase_marks"]
        for mark in other["object_marks"] if deleted else ():
            mark[stored] = None
        assert lane["object_marks"] == other["object_marks"]


def test_nothing_is_collected_without_records(root: Path) -> None:
    """A function that does not exist has no report."""
    assert model_of(root, Selection("other")) is None


def test_key_with_another_partition_breaks_no_report(tmp_path: Path) -> None:
    """Each program with write access to the bucket chooses the names of its folders."""
    markup = "<img src=x onerror=alert(1)>&\"'%"
    store(tmp_path, [Fleet("api", 1, 4), Fleet(markup, 1, 3), Fleet("deeper", 1, 2)])
    (inside,) = {path.parent for path in tmp_path.glob("function=deeper/**/*.gz")}
    inside.rename(tmp_path / "moved")
    inside.mkdir()
    (tmp_path / "moved").rename(inside / "extra=1")
    model = model_of(tmp_path)
    assert {one["name"]: one["invocations"] for one in model["functions"]} == {"api": 4, markup: 3, "deeper": 2}
    assert model["proof"]["result"] == "complete"


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals count everything, and each list has its limit."""
    store(tmp_path, [Fleet(f"f{n}", 1, 20, failed=0.9, per_object=20) for n in range(5)])
    for name in ("MAX_ERRORS", "MAX_LISTED"):
        monkeypatch.setattr(collecting, name, 3)
    model = model_of(tmp_path)
    assert len(model["errors"]) == len(model["failed"]) == len(model["slowest"]) == 3
    assert model["totals"]["invocations"] == 100


def test_functions_above_the_limit_stay_in_the_totals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty function is listed before busier ones. The others have no number, and their durations are summed."""
    store(
        tmp_path,
        [
            *(Fleet(f"f{n}", 1, 10 + n, failed=0.5, per_object=20) for n in range(5)),
            Fleet("faulty", 1, 3, per_object=1, missing={0: (2,)}),
        ],
    )
    monkeypatch.setattr(view_models, "MAX_FUNCTIONS", 3)
    model = model_of(tmp_path)
    assert [one["name"] for one in model["functions"]] == ["f3", "f4", "faulty"]
    assert model["other"]["functions"] == 3
    durations = [count for one in (*model["functions"], model["other"]) for _, count, _ in one["durations"]]
    assert sum(durations) == model["totals"]["invocations"]
    assert {mark[-1] for mark in model["failed"]} == {0, 1, None}
    assert {lane["function"] for lane in model["lanes"]} == {0, 1, 2, None}


def test_function_that_logs_odd_json_does_not_fail_the_report(tmp_path: Path) -> None:
    """A record of the function that looks like one of the platform changes nothing."""
    text = '{"metrics":{"durationMs":"x"},"status":[],"a":"\\ud83d"'
    store(tmp_path, [Fleet("api", 1, 3, message=text)])
    assert gzip.decompress(next(tmp_path.rglob("*.gz")).read_bytes()).count(b"ud83d") > 0
    model = model_of(tmp_path)
    assert (model["totals"]["invocations"], model["totals"]["failed"]) == (3, 0)
