"""State of invocations from the stream."""

from __future__ import annotations

import json

import pytest

from logferry.records.invocations import CUT_BYTES, REMEMBERED, Invocations

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"


def delivery(*events: tuple[str, str | None]) -> bytes:
    """Return a batch of platform events of that type and request."""
    return json.dumps(
        [{"type": kind, "record": {"requestId": request} if request else {}} for kind, request in events]
    ).encode()


@pytest.mark.parametrize(
    ("events", "running"),
    [
        ([], None),
        ([("platform.start", A)], A),
        ([("platform.start", A), ("platform.runtimeDone", A)], None),
        ([("platform.start", A), ("platform.report", A)], None),
        ([("platform.start", A), ("platform.end", A)], None),
        ([("platform.start", A), ("platform.fault", None)], None),
        ([("platform.start", A), ("platform.runtimeDone", B)], A),
        ([("platform.start", A), ("platform.runtimeDone", A), ("platform.start", B), ("platform.report", A)], B),
        ([("platform.start", A), ("platform.initStart", None)], None),
        ([("platform.start", A), ("platform.restoreStart", None)], None),
        ([("platform.start", A), ("platform.extension", None)], A),
        ([("platform.start", A), ("platform.somethingNew", None)], A),
    ],
)
def test_request_runs_from_its_start_to_its_end(events: list[tuple[str, str | None]], running: str | None) -> None:
    """The late report of the previous request does not end the running one."""
    invocations = Invocations()
    invocations.see(delivery(*events))
    assert invocations.running == running


def test_request_ends_with_runtime_done_or_with_the_report() -> None:
    """Managed Instances send no runtimeDone; the report ends the request there."""
    invocations = Invocations()
    invocations.see(delivery(("platform.start", A)))
    assert not invocations.ended(A)
    invocations.see(delivery(("platform.runtimeDone", A)))
    assert invocations.ended(A)
    invocations.see(delivery(("platform.report", B)))
    assert invocations.ended(B)
    assert invocations.reports == 1


def test_all_are_reported_when_every_known_request_is() -> None:
    """A request is known by its INVOKE event or its start; the report of an unknown one has no effect."""
    invocations = Invocations()
    assert invocations.all_reported()
    invocations.began(A)
    invocations.see(delivery(("platform.start", B)))
    invocations.see(delivery(("platform.report", A)))
    assert not invocations.all_reported()
    invocations.see(delivery(("platform.report", B)))
    assert invocations.all_reported()


def test_invocations_keep_a_bounded_number_of_requests() -> None:
    """A thousand requests without a report leave the newest ones."""
    invocations = Invocations()
    for n in range(REMEMBERED * 4):
        invocations.began(str(n))
        invocations.see(delivery(("platform.runtimeDone", str(n))))
    assert not invocations.ended("0")
    assert invocations.ended(str(REMEMBERED * 4 - 1))
    assert len(invocations._ended) == len(invocations._unreported) == REMEMBERED


@pytest.mark.parametrize(
    "body", [b"", b"platform.start", b'[{"type":"platform.start"}', b'[{"type":"platform.start","record":7}]', b"\xff"]
)
def test_unreadable_batch_has_no_effect(body: bytes) -> None:
    """Any process may post any bytes."""
    invocations = Invocations()
    invocations.see(body)
    assert invocations.running is None


@pytest.mark.parametrize("kind", ["platform.start", "platform.runtimeDone", "platform.report"])
@pytest.mark.parametrize("record", ["", ',"record":null', ',"record":"x"', ',"record":[1]', ',"record":{"status":[1]}'])
def test_a_platform_event_without_a_usable_record_is_no_error(kind: str, record: str) -> None:
    """An error would end the shipper, and again at each restart, because the journal has the batch."""
    invocations = Invocations()
    invocations.see(f'[{{"type":"{kind}"{record}}}]'.encode())
    assert invocations.running is None


def test_line_with_a_platform_type_starts_no_request() -> None:
    """Only the type of an event counts, not the text of a line."""
    invocations = Invocations()
    invocations.see(json.dumps([{"type": "function", "record": '{"type":"platform.start","requestId":"x"}'}]).encode())
    assert invocations.running is None


def large(last: str) -> bytes:
    """Return a batch of the size of one that may end in a cut record; `last` is the end of the last record."""
    envelope = '{"time":"2026-11-21T02:26:24.357Z","type":"function","record":'
    return f'[{envelope}"{"x" * CUT_BYTES}"}},{envelope}{last}'.encode()


def test_large_batch_of_complete_lines_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a burst, parsing took a quarter of all CPU time before the response. A cut record is noticed."""
    invocations = Invocations()
    invocations.see(large('"cut}]'))
    assert invocations.in_the_middle
    invocations.see(large('"complete"}]'))
    assert not invocations.in_the_middle
    monkeypatch.delattr(invocations._reader.__class__, "read")
    invocations.see(large('"complete"}]'))
    invocations.see(large('{"message":"complete"}}]'))
    with pytest.raises(AttributeError):
        invocations.see(large('"cut}]'))
