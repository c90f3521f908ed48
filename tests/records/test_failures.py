"""Decision which invocations timed out or ran out of memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.records.decoder import Event
from logferry.records.failures import FAILED_KEPT, FailureRecord, Failures
from logferry.records.internal import OUT_OF_MEMORY, TIMEOUT

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
TIME = "2026-11-21T02:26:24.357Z"
DONE, REPORT = "platform.runtimeDone", "platform.report"


class Judged:
    """Failures whose records are stored at once."""

    def __init__(self) -> None:
        self.stored: list[FailureRecord] = []
        self.messages: dict[str, str] = {}
        self.failures = Failures(is_stored=self._is_stored, message_of=self.messages.get)

    def _is_stored(self, kind: str, request_id: str) -> bool:
        return any((each.kind, each.request_id) == (kind, request_id) for each in self.stored)

    def see(self, kind: str, request: object = A, **fields: Any) -> list[FailureRecord]:
        """Judge one event; return its records."""
        record = {"requestId": request, **fields}
        event = Event(json.dumps(record), {"time": TIME, "type": kind, "record": record})
        before = len(self.stored)
        for each in self.failures.on_event(event):
            self.stored.append(each)
        return self.stored[before:]

    def shut_down(self, reason: str, unended: str | None = None) -> list[FailureRecord]:
        """Judge a SHUTDOWN event; return its records."""
        before = len(self.stored)
        for each in self.failures.on_shutdown(reason, unended):
            self.stored.append(each)
        return self.stored[before:]


@pytest.fixture
def judged() -> Judged:
    """Return failures without an event."""
    return Judged()


def test_timeout_is_recorded_once_with_its_evidence(judged: Judged) -> None:
    """The end, the report and SHUTDOWN all name the same timeout."""
    (found,) = judged.see(DONE, status="timeout", errorType="Sandbox.Timedout", metrics={"durationMs": 3000.0})
    assert found == FailureRecord(TIMEOUT, A, {"requestId": A, "evidence": DONE, "durationMs": 3000.0}, TIME)
    assert not judged.see(REPORT, status="timeout", metrics={"durationMs": 3001.0})
    assert not judged.shut_down("timeout", A)


def test_report_alone_records_the_timeout(judged: Judged) -> None:
    """Managed Instances send no runtimeDone, and the platform may drop one."""
    (found,) = judged.see(REPORT, status="timeout")
    assert found.record == {"requestId": A, "evidence": REPORT}


@pytest.mark.parametrize("reason", ["timeout", "TIMEOUT", "Timeout"])
def test_shutdown_records_the_timeout_of_an_invocation_without_an_end(judged: Judged, reason: str) -> None:
    """The documentation and the platform's code write the reason in different cases."""
    (found,) = judged.shut_down(reason, A)
    assert (found.kind, found.record, found.time) == (TIMEOUT, {"requestId": A, "evidence": "SHUTDOWN"}, "")


@pytest.mark.parametrize(("reason", "unended"), [("spindown", A), ("failure", A), ("timeout", None)])
def test_shutdown_without_a_timeout_records_none(judged: Judged, reason: str, unended: str | None) -> None:
    """An idle environment times out nothing."""
    assert not judged.shut_down(reason, unended)


def test_error_type_of_the_platform_is_the_first_evidence(judged: Judged) -> None:
    """It needs no search."""
    judged.messages[A] = "MemoryError"
    (found,) = judged.see(DONE, status="error", errorType="Runtime.OutOfMemory")
    assert found == FailureRecord(
        OUT_OF_MEMORY, A, {"requestId": A, "evidence": "errorType", "errorType": "Runtime.OutOfMemory"}, TIME
    )
    full = {"maxMemoryUsedMB": 128, "memorySizeMB": 128}
    assert not judged.see(REPORT, status="error", errorType="Runtime.ExitError", metrics=full)


def test_message_that_arrives_before_the_report_is_evidence(judged: Judged) -> None:
    """The lines of a crash may follow the end of the invocation."""
    assert not judged.see(DONE, status="error", errorType="Runtime.ExitError")
    judged.messages[A] = "fatal error: runtime: out of memory"
    (found,) = judged.see(REPORT, status="error")
    assert found.record == {"requestId": A, "evidence": "output", "output": "fatal error: runtime: out of memory"}


def test_message_that_arrives_after_the_report_is_found_at_shutdown(judged: Judged) -> None:
    """The environment is reset after a crash."""
    judged.see(DONE, status="error", errorType="Runtime.ExitError")
    judged.see(REPORT, status="error")
    judged.messages[A] = "MemoryError"
    assert [each.kind for each in judged.shut_down("failure")] == [OUT_OF_MEMORY]
    assert not judged.shut_down("failure")


def test_process_that_ended_with_all_memory_in_use_ran_out_of_memory(judged: Judged) -> None:
    """The error type of runtimeDone counts for the report, which may come during a later invocation."""
    judged.see(DONE, status="error", errorType="Runtime.ExitError")
    judged.see(DONE, B, status="error", errorType="Function.Unknown")
    (found,) = judged.see(REPORT, status="error", metrics={"maxMemoryUsedMB": 128, "memorySizeMB": 128})
    expected = {"requestId": A, "evidence": "memory", "maxMemoryUsedMB": 128, "memorySizeMB": 128}
    assert (found.request_id, found.record) == (A, expected)


@pytest.mark.parametrize(
    ("error_type", "metrics"),
    [
        ("Runtime.ExitError", {"maxMemoryUsedMB": 127, "memorySizeMB": 128}),
        ("Runtime.ExitError", {"maxMemoryUsedMB": 0, "memorySizeMB": 0}),
        ("Runtime.ExitError", {"maxMemoryUsedMB": "128", "memorySizeMB": True}),
        ("Runtime.ExitError", None),
        ("Runtime.ExitError", 7),
        ("Function.Unknown", {"maxMemoryUsedMB": 128, "memorySizeMB": 128}),
        (None, {"maxMemoryUsedMB": 128, "memorySizeMB": 128}),
        (7, {"maxMemoryUsedMB": 128, "memorySizeMB": 128}),
    ],
)
def test_failure_without_evidence_has_no_record(judged: Judged, error_type: object, metrics: object) -> None:
    """The page cache fills the memory of many functions that merely raise an exception."""
    assert not judged.see(DONE, status="error", errorType=error_type)
    assert not judged.see(REPORT, status="error", errorType=error_type, metrics=metrics)
    assert not judged.shut_down("failure")


@pytest.mark.parametrize("request_id", ["", "not valid", 7, None])
def test_event_without_a_valid_request_is_ignored(judged: Judged, request_id: object) -> None:
    """A record names its request."""
    assert not judged.see(DONE, request_id, status="timeout")


def test_number_of_remembered_failures_is_bounded(judged: Judged) -> None:
    """A function that always fails needs no more memory than one that fails sometimes."""
    for n in range(FAILED_KEPT * 4):
        judged.see(DONE, f"request-{n}", status="error", errorType="Function.Unknown")
    assert len(judged.failures._error_types) == FAILED_KEPT
