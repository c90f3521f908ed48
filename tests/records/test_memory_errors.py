"""Messages of exhausted memory: those of each runtime, and whose lines they are."""

from __future__ import annotations

import json

import pytest

from logferry.records import decoder
from logferry.records.memory_errors import SHOWN_CHARACTERS, find, is_memory_error, message_in
from support.platform_events import batch, event, function, report_of, runtime_done, start

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
NODE = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"


@pytest.mark.parametrize(
    "line",
    [
        NODE,
        "FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap out of memory",
        "# Fatal process out of memory: Zone",
        "Error [ERR_WORKER_OUT_OF_MEMORY]: Worker terminated due to reaching memory limit: JS heap out of memory",
        'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',
        "Java heap space: java.lang.OutOfMemoryError",
        "There is insufficient memory for the Java Runtime Environment to continue.",
        "fatal error: runtime: out of memory",
        "fatal error: runtime: cannot allocate memory",
        "app.rb:3:in `*': failed to allocate memory (NoMemoryError)",
        "[FATAL] failed to allocate memory",
        "Unhandled exception. System.OutOfMemoryException: Array dimensions exceeded supported range.",
        "Out of memory.",
        "MemoryError",
        "[ERROR] MemoryError\rTraceback (most recent call last):",
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 8.00 GiB",
        'Traceback (most recent call last):\n  File "app.py", line 3, in handler\nMemoryError',
        '{"level":"ERROR","errorType":"MemoryError","requestId":"x"}',
        "memory allocation of 4096 bytes failed",
    ],
)
def test_last_message_of_a_runtime_is_recognised(line: str) -> None:
    """Each runtime reports exhausted memory in its own words."""
    assert message_in(line)
    assert message_in(f"{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "memory: 128 MB",
        "order 7: out of memory cards",
        "MemoryErrorHandler is registered",
        "caught MemoryError, retrying",
        "maxMemoryUsedMB=128",
        "",
    ],
)
def test_ordinary_line_about_memory_is_no_message(line: str) -> None:
    """A function may write about memory."""
    assert message_in(line) is None


def test_message_is_shortened() -> None:
    """A message goes into a record, so it has a limit."""
    assert (
        message_in(f"java.lang.OutOfMemoryError: {'x' * 10_000}")
        == (f"java.lang.OutOfMemoryError: {'x' * 10_000}"[:SHOWN_CHARACTERS])
    )


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("Runtime.OutOfMemory", True),
        ("Runtime.OutOfMemoryError", True),
        ("java.lang.OutOfMemoryError", True),
        ("System.OutOfMemoryException", True),
        ("Function<NoMemoryError>", True),
        ("MemoryError", True),
        ("Runtime.ExitError", False),
        ("Function.SharedMemoryErrorHandler", False),
        ("", False),
    ],
)
def test_error_type_of_exhausted_memory_is_recognised(error_type: str, *, expected: bool) -> None:
    """The platform passes on the type that the runtime states."""
    assert is_memory_error(error_type) is expected


def test_message_belongs_to_the_request_that_started_last() -> None:
    """Lines behind the end of a request, and before the next start, are its last lines."""
    before_end = [batch(start(A), function(NODE), runtime_done(A))]
    after_end = [batch(start(A), runtime_done(A)), batch(function(NODE))]
    of_next = [batch(start(A), runtime_done(A)), batch(start(B), function(NODE))]
    assert find(before_end, A, latest=None) == NODE
    assert find(after_end, A, latest=None) == NODE
    assert find(of_next, A, latest=None) is None
    assert find(of_next, B, latest=None) == NODE


def test_message_is_found_in_a_body_without_a_start() -> None:
    """The start of the request may be in an earlier segment."""
    assert find([batch(function(NODE))], A, latest=A) == NODE
    assert find([batch(function(NODE))], A, latest=B) is None
    assert find([batch(function(NODE))], A, latest=None) is None


def test_message_that_states_the_request_counts_in_any_place() -> None:
    """Structured lines of a runtime state the request."""
    record = {"level": "ERROR", "errorType": "MemoryError", "requestId": A}
    bodies = [batch(start(A), runtime_done(A)), batch(start(B), event("function", record))]
    assert find(bodies, A, latest=None) == json.dumps(record, separators=(",", ":"))


def test_message_in_a_run_of_plain_records_is_found() -> None:
    """A large batch is read by the fast path, which yields runs."""
    lines = [function(f"line {n} {'x' * 80}") for n in range(100)]
    body = batch(start(A), *lines, function(f"{NODE}\n"), *lines)
    assert any(isinstance(each, list) for each in decoder.read_all([body]))
    assert find([body], A, latest=None) == NODE


def test_bodies_of_other_requests_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search of a large segment is a search for bytes until the request starts."""
    read: list[bytes] = []
    original = decoder.Reader.read

    def counted(self: decoder.Reader, body: bytes) -> object:
        read.append(body)
        return original(self, body)

    monkeypatch.setattr(decoder.Reader, "read", counted)
    earlier = [batch(start(B), function(NODE), runtime_done(B), report_of(B))] * 50
    lines = [batch(function("an ordinary line"))] * 50
    assert find([*earlier, batch(start(A)), *lines, batch(runtime_done(A))], A, latest=None) is None
    assert len(read) == 2


@pytest.mark.parametrize("body", [b"", b"emory", b'[{"type":"function","record":"emory', b"\xff emory", b'["emory"]'])
def test_unreadable_body_is_skipped(body: bytes) -> None:
    """Any process may post any bytes."""
    assert find([body, batch(start(A), function(NODE))], A, latest=A) == NODE
