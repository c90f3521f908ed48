"""A request is stated or inferred: by the platform, by a line of a started request, or by the order of records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.records import attribution
from logferry.records.decoder import Event
from logferry.records.internal import UNPARSABLE
from logferry.records.request_id import request_in
from logferry.records.started_requests import IN_HEADER, REMEMBERED, StartedRequests

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
FOREIGN = "5f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d10"


def event(**fields: Any) -> Event:
    """Return an event with these fields."""
    is_exact = "record" in fields and fields.keys() <= {"time", "type", "record"}
    value = json.dumps(fields["record"]) if is_exact else None
    return Event(json.dumps(fields), fields, value)


def line(record: Any) -> Event:
    """Return a line of the function."""
    return event(time="2026-11-21T02:26:24.357Z", type="function", record=record)


def attributed(found: Event, *, running: str | None, concurrent: bool = False) -> tuple[str, str] | None:
    """Return the request of an event; A and B have started."""
    started = StartedRequests([A, B])
    return attribution.attribute(
        found, running=running, request_in=lambda value: request_in(value, started), concurrent=concurrent
    )


@pytest.mark.parametrize(
    ("found", "running", "concurrent", "expected"),
    [
        (line("x"), A, False, (A, "inferred")),
        (line("x"), None, False, None),
        (line("x"), A, True, None),
        (line({"requestId": B}), A, False, (B, "record")),
        (line({"requestId": B}), A, True, (B, "record")),
        (line({"requestId": FOREIGN}), A, False, (A, "inferred")),
        (line({"requestId": FOREIGN}), A, True, None),
        (line({"message": "x"}), A, False, (A, "inferred")),
        (event(type="extension", record="x"), A, False, None),
        (event(type="extension", record=f"RequestId: {B}"), A, False, (B, "record")),
        (event(type="function", requestId=B, record="x"), A, True, (B, "record")),
        (event(type="platform.start", record={"requestId": FOREIGN}), A, False, (FOREIGN, "record")),
        (event(type="platform.report", record={"requestId": FOREIGN, "metrics": {}}), None, True, (FOREIGN, "record")),
        (event(type="platform.fault", record=f"RequestId: {FOREIGN} Error: exited"), A, False, (FOREIGN, "record")),
        (event(type="platform.start", record={"requestId": "\ud800"}), A, False, None),
        (event(type="platform.extension", record={}), A, False, None),
        (event(type=UNPARSABLE, record={"text": f"RequestId: {A}"}), A, False, None),
        (event(record="x"), A, False, None),
        (event(type=7, record="x"), A, False, None),
    ],
)
def test_request_is_stated_by_a_started_request_or_inferred_for_function_lines(
    found: Event, running: str | None, expected: tuple[str, str] | None, *, concurrent: bool
) -> None:
    """The source is part of the result; on Managed Instances no request is inferred."""
    assert attributed(found, running=running, concurrent=concurrent) == expected


def test_lines_belong_to_the_invocation_between_start_and_runtime_done() -> None:
    """Lines of the Init phase and between invocations belong to none; the late report changes nothing."""
    stream = [
        line("init"),
        event(type="platform.start", record={"requestId": A}),
        line("one"),
        event(type="platform.runtimeDone", record={"requestId": A}),
        line("between"),
        event(type="platform.start", record={"requestId": B}),
        event(type="platform.report", record={"requestId": A}),
        line("two"),
        event(type="platform.fault", record="RequestId: ?"),
        line("after"),
    ]
    running, found = None, {}
    for each in stream:
        running = attribution.running_after(running, each)
        if each.type == "function":
            request = attributed(each, running=running)
            found[each.fields["record"]] = request and request[0]
    assert found == {"init": None, "one": A, "between": None, "two": B, "after": None}


def test_started_requests_keep_a_bounded_number_and_the_newest_enter_the_header() -> None:
    """A header must stay small, and a long life must not grow the memory."""
    started = StartedRequests(str(n) for n in range(REMEMBERED + 10))
    assert len(started) == REMEMBERED
    assert "9" not in started
    started.add("10")
    assert started.newest()[-1] == "10"
    assert len(started.newest()) == IN_HEADER
