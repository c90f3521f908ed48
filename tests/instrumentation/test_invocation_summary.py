"""Aggregation of the events of an invocation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.instrumentation.invocation_summary import (
    HOSTS_KEPT,
    HOSTS_SHOWN,
    INVOCATIONS_KEPT,
    InvocationSummaries,
)

CALL, EVENT, METRIC = "logferry.call", "logferry.event", "logferry.metric"


def summaries(*, calls: bool = True, events: bool = True) -> InvocationSummaries:
    """Return summaries with one invocation, r1."""
    made = InvocationSummaries(calls=calls, events=events)
    made.start("r1")
    return made


def end(made: InvocationSummaries, request: str = "r1", **fields: Any) -> dict[str, Any] | None:
    """End an invocation; return its summary, or None without one."""
    text = made.end(request, **{"status": "success", "duration_ms": 12.5, **fields})
    return json.loads(text) if text else None


def test_summary_counts_calls_by_host_and_events() -> None:
    """A status of 400 or more, and a call without a response, are errors."""
    made = summaries()
    for host, status, ms in (("a", 200, 10.0), ("a", 500, 30.25), ("b", 404, 1), ("a", None, 2)):
        made.on_event(CALL, {"host": host, "durationMs": ms} | ({"status": status} if status else {}), "r1")
    made.on_event(CALL, {"host": "b", "error": "ECONNREFUSED"}, "r1")
    made.on_event(EVENT, {"event": "x"}, "r1")
    made.on_event(METRIC, {"metric": "x", "value": 1}, "r1")
    assert end(made) == {
        "requestId": "r1",
        "status": "success",
        "durationMs": 12.5,
        "calls": {
            "count": 5,
            "errors": 3,
            "ms": 43.25,
            "slowest": 30.25,
            "hosts": [
                {"host": "a", "count": 3, "errors": 1, "ms": 42.25},
                {"host": "b", "count": 2, "errors": 2, "ms": 1.0},
            ],
        },
        "events": 2,
    }


def test_summary_has_only_the_fields_that_are_on() -> None:
    """With usage alone, a summary has neither calls nor events."""
    assert end(summaries(calls=False, events=False), usage='{"cpuMs":1.0}') == {
        "requestId": "r1",
        "status": "success",
        "durationMs": 12.5,
        "usage": {"cpuMs": 1.0},
    }


@pytest.mark.parametrize(("status", "duration"), [(None, None), (7, "12"), ([], True)])
def test_fields_of_the_platform_with_another_type_are_left_out(status: object, duration: object) -> None:
    """Any process may post any record before the platform has used its path."""
    found = end(summaries(), status=status, duration_ms=duration)
    assert found
    assert "status" not in found
    assert "durationMs" not in found


def test_invocation_has_one_summary() -> None:
    """The report follows the end."""
    made = summaries()
    assert end(made)
    assert end(made) is None
    made.start("r1")
    assert not made.is_running("r1")
    assert end(made) is None
    assert end(made, "") is None


def test_hosts_beyond_the_shown_ones_are_summed() -> None:
    """The sums of all hosts stay right."""
    made = summaries()
    for n in range(HOSTS_KEPT + 50):
        for _ in range(2 if n < 5 else 1):
            made.on_event(CALL, {"host": f"h{n:04}", "durationMs": 1.0, "status": 200 if n else 500}, "r1")
    found = end(made)
    assert found
    calls = found["calls"]
    assert calls["count"] == HOSTS_KEPT + 55
    assert calls["errors"] == 2
    assert len(calls["hosts"]) == HOSTS_SHOWN + 1
    assert [host["host"] for host in calls["hosts"][:5]] == [f"h{n:04}" for n in range(5)]
    assert calls["hosts"][-1] == {
        "host": "*",
        "count": HOSTS_KEPT + 50 - HOSTS_SHOWN,
        "errors": 0,
        "ms": float(HOSTS_KEPT + 50 - HOSTS_SHOWN),
    }
    assert sum(host["count"] for host in calls["hosts"]) == calls["count"]


def test_call_without_valid_fields_is_counted() -> None:
    """A call is the function's claim, and may have any form."""
    made = summaries()
    for record in ({}, {"host": 7, "durationMs": "x", "status": "500"}, {"durationMs": -5}, {"durationMs": True}):
        made.on_event(CALL, record, "r1")
    found = end(made)
    assert found
    assert found["calls"] == {
        "count": 4,
        "errors": 0,
        "ms": 0.0,
        "slowest": 0.0,
        "hosts": [{"host": "", "count": 4, "errors": 0, "ms": 0.0}],
    }


def test_losses_are_in_the_summary_of_their_request_or_in_the_next() -> None:
    """The sum of the losses in all summaries is the sum of all losses."""
    made = summaries()
    made.start("r2")
    made.on_lost("pipeFull", 3, "r1")
    made.on_lost("pipeFull", 2, None)
    made.on_lost("limit", 1, "r1")
    first = end(made)
    made.on_lost("malformed", 4, "r1")
    second = end(made, "r2")
    assert first
    assert second
    assert (first["lost"], second["lost"]) == ({"pipeFull": 5, "limit": 1}, {"malformed": 4})


def test_events_that_arrive_after_the_summary_are_counted_in_the_next() -> None:
    """Code may run on after the response."""
    made = summaries()
    end(made)
    made.start("r2")
    made.on_event(CALL, {"host": "a"}, "r1")
    made.on_event(EVENT, {"event": "x"}, "r1")
    found = end(made, "r2")
    assert found
    assert (found["lateEvents"], found["events"], found["calls"]["count"]) == (2, 0, 0)


def test_events_of_concurrent_invocations_stay_apart() -> None:
    """Managed Instances run several invocations."""
    made = InvocationSummaries(calls=True, events=True)
    for n in range(30):
        made.on_event(EVENT, {"event": "x"}, f"r{n % 3}")
    made.on_event(EVENT, {"event": "x"}, None)
    assert [(end(made, f"r{n}") or {})["events"] for n in range(3)] == [10, 10, 10]


def test_partial_summary_is_marked() -> None:
    """An earlier shipper has counted the first events."""
    made = InvocationSummaries(calls=True, events=True)
    made.start("r1", is_partial=True)
    assert (end(made) or {})["partial"] is True
    assert (end(made, "unknown") or {})["partial"] is True
    made.on_event(EVENT, {"event": "x"}, "early")
    made.start("early", is_partial=True)
    assert (end(made, "early") or {})["partial"] is True


def test_invocation_after_a_restart_is_partial_until_its_start_is_known() -> None:
    """An event alone does not show whether an earlier process has counted others."""
    made = InvocationSummaries(calls=True, events=True, restarted=True)
    for request in ("r1", "r2", "r3"):
        made.on_event(EVENT, {"event": "x"}, request)
    made.start("r2", is_partial=False)
    made.start("r3")
    assert [(end(made, request) or {}).get("partial") for request in ("r1", "r2", "r3")] == [True, None, True]
    assert "partial" not in (end(summaries()) or {})


def test_number_of_remembered_invocations_is_bounded() -> None:
    """Invocations without an end do not fill the memory."""
    made = InvocationSummaries(calls=True, events=True)
    for n in range(INVOCATIONS_KEPT * 2):
        made.start(f"r{n}")
        made.on_event(EVENT, {"event": "x"}, f"r{n}")
    assert len(made.running) == INVOCATIONS_KEPT
    for n in range(INVOCATIONS_KEPT * 2):
        end(made, f"r{n}")
    assert made.running == ()
    assert len(made._summarized) == INVOCATIONS_KEPT
