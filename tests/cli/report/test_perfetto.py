"""The trace: complete, balanced, and equal to the records."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.fetch.fetch import fetch
from logferry.cli.query.session import Session
from logferry.cli.report import fault_places
from logferry.cli.report.collect import collect
from logferry.cli.report.perfetto import write_trace
from support.report_pages import SMALL
from support.stored_functions import store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give the parsed trace and the totals of the same objects."""
    root: Path = tmp_path_factory.mktemp("objects")
    store(root, SMALL)
    file = io.StringIO()
    with Session(fetch(f"file://{root}")) as session:
        found = collect(session)
        assert found
        places = fault_places.placed(found.faults, found.rows["neighbours"])
        count = write_trace(session.connection, places, file)
    parsed: dict[str, Any] = json.loads(file.getvalue())
    assert len(parsed["traceEvents"]) == count
    return {"events": parsed["traceEvents"], "totals": found.functions[0], "faults": found.faults}


def test_each_begin_has_its_end(trace: dict[str, Any]) -> None:
    """An asynchronous event is identified by process, category and ID. Its end is not before its begin."""
    spans: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for event in trace["events"]:
        if event["ph"] != "M":
            spans[event["pid"], event["cat"], event["id"], event["name"]].append(event)
    assert spans
    for events in spans.values():
        assert [event["ph"] for event in events] == ["b", "e"]
        assert events[0]["ts"] <= events[1]["ts"]


def test_every_invocation_object_and_fault_is_in_the_trace(trace: dict[str, Any]) -> None:
    """The trace has no bins. Each environment is a process with the name of its function."""
    begins = Counter(event["cat"] for event in trace["events"] if event["ph"] == "b")
    totals = trace["totals"]
    assert begins["invocation"] == totals["invocations"]
    assert begins["object"] == begins["wait"] == totals["objects"]
    assert begins["fault"] == len(trace["faults"]) == 1
    named = [event["args"]["name"] for event in trace["events"] if event["name"] == "process_name"]
    assert len(named) == totals["environments"]
    assert {name.split()[0] for name in named} == {fleet.name for fleet in SMALL}


def test_failed_invocations_have_their_error(trace: dict[str, Any]) -> None:
    """A search for an error type or a request ID finds the invocation."""
    failed = [event for event in trace["events"] if event["ph"] == "b" and event["name"] == "failed invocation"]
    assert len(failed) == trace["totals"]["failed"]
    assert all(event["args"]["requestId"] and event["args"]["status"] != "success" for event in failed)
