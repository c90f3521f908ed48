"""What the stream has told about invocations."""

from __future__ import annotations

import json

import pytest

from logferry.records.invocations import CUT_BYTES, REMEMBERED, Invocations

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"


def delivery(*events: tuple[str, str | None]) -> bytes:
    """Give a delivery of platform events of that type and request."""
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
def test_a_request_runs_from_its_start_to_its_end(events: list[tuple[str, str | None]], running: str | None) -> None:
    """The late report of the one before does not end the one that runs."""
    invocations = Invocations()
    invocations.see(delivery(*events))
    assert invocations.running == running


def test_an_end_is_told_by_runtime_done_or_by_the_report() -> None:
    """On Managed Instances there is no runtimeDone; the report then says it."""
    invocations = Invocations()
    invocations.see(delivery(("platform.start", A)))
    assert not invocations.ended(A)
    invocations.see(delivery(("platform.runtimeDone", A)))
    assert invocations.ended(A)
    invocations.see(delivery(("platform.report", B)))
    assert invocations.ended(B)
    assert invocations.reports == 1


def test_all_are_reported_when_every_one_known_is() -> None:
    """Known by its INVOKE event or by its start; a report of an unknown one harms nothing."""
    invocations = Invocations()
    assert invocations.all_reported()
    invocations.began(A)
    invocations.see(delivery(("platform.start", B)))
    invocations.see(delivery(("platform.report", A)))
    assert not invocations.all_reported()
    invocations.see(delivery(("platform.report", B)))
    assert invocations.all_reported()


def test_a_long_life_takes_a_bounded_memory() -> None:
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
def test_what_cannot_be_read_tells_nothing_and_harms_nothing(body: bytes) -> None:
    """It is fed with whatever was posted."""
    invocations = Invocations()
    invocations.see(body)
    assert invocations.running is None


def test_a_function_that_prints_platform_words_starts_nothing() -> None:
    """Only an event's type counts, not what a line says."""
    invocations = Invocations()
    invocations.see(json.dumps([{"type": "function", "record": '{"type":"platform.start","requestId":"x"}'}]).encode())
    assert invocations.running is None


def large(last: str) -> bytes:
    """Give a delivery as large as one that may end in a cut record; this is the last one's value and what is behind."""
    envelope = '{"time":"2026-11-21T02:26:24.357Z","type":"function","record":'
    return f'[{envelope}"{"x" * CUT_BYTES}"}},{envelope}{last}'.encode()


def test_a_large_delivery_of_whole_lines_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a burst that was a quarter of all CPU, spent before the answer; but a cut record is noticed at once."""
    invocations = Invocations()
    invocations.see(large('"cut}]'))
    assert invocations.in_the_middle
    invocations.see(large('"whole"}]'))
    assert not invocations.in_the_middle
    monkeypatch.delattr(invocations._reader.__class__, "read")
    invocations.see(large('"whole"}]'))
    invocations.see(large('{"message":"whole"}}]'))
    with pytest.raises(AttributeError):
        invocations.see(large('"cut}]'))
