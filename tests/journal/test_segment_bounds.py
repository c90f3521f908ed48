"""Bounds of a segment: the hour of the clock, cut records, and the requests that its header and notes name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from logferry.journal.segment import OpenFile
from logferry.records import batch_facts, decoder
from logferry.records.encoder import encode
from logferry.records.invocations import Invocations
from logferry.records.object_key import DEFAULT_KEY
from support.format_1 import read_object
from support.journal_harness import bodies_in, close, follow, numbered, numbers_in, open_journal, waiting_in

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.journal.journal import Journal
    from logferry.journal.segment import Segment

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_795_046_400_000
"""2026-11-19T00:00:00Z, in milliseconds since the epoch."""
A = "459921b5-681c-4a96-beb0-81e0aa586026"


class Clock:
    """A clock that a test sets."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the time, in milliseconds since the epoch."""
        return self.now_ms


def at(time: str, record: Any = "x") -> bytes:
    """Return a batch of one line, as the platform writes it."""
    return json.dumps([{"time": time, "type": "function", "record": record}], separators=(",", ":")).encode()


def records_in(journal: Journal, segment: Segment) -> list[dict[str, Any]]:
    """Return the records of the object of a segment."""
    with journal.reading(segment) as (header, bodies):
        types = frozenset({"platform", "function"})
        stored = encode(header, bodies, final=False, key=DEFAULT_KEY, compress=False, types=types)
    return read_object(stored.body, stored.metadata)[0]


# --- the hour


def test_change_of_the_hour_seals_the_open_segment_before_the_batch(tmp_path: Path) -> None:
    """A query for one hour finds its records in the partition of that hour."""
    clock = Clock(MIDNIGHT_MS - 60_000)
    journal = open_journal(tmp_path, clock_ms=clock)
    journal.append(numbered(1))
    clock.now_ms = MIDNIGHT_MS + 60_000
    journal.append(numbered(2))
    journal.append(numbered(3))
    journal.seal()
    assert [numbers_in(bodies_in(journal, segment)) for segment in journal.sealed] == [[1], [2, 3]]


def test_late_records_of_the_previous_hour_stay_in_its_segment(tmp_path: Path) -> None:
    """The subscription buffers records, so the first batch of an hour may hold records of the previous one."""
    clock = Clock(MIDNIGHT_MS - 10)
    journal = open_journal(tmp_path, clock_ms=clock)
    journal.append(at("2026-11-18T23:59:59.900Z"))
    clock.now_ms = MIDNIGHT_MS + 20
    journal.append(at("2026-11-18T23:59:59.990Z"))
    assert journal.sealed == ()
    journal.append(at("2026-11-19T00:00:00.010Z"))
    journal.append(at("2026-11-18T23:59:59.995Z"))
    assert len(journal.sealed) == 1


def test_forged_times_do_not_seal_a_segment(tmp_path: Path) -> None:
    """Any process may post any time, and each object costs a request."""
    clock = Clock(MIDNIGHT_MS + HOUR_MS // 2)
    journal = open_journal(tmp_path, clock_ms=clock)
    for time in ("2026-11-18T01:00:00.000Z", "2030-01-01T00:00:00.000Z", "2026-11-18T23:00:00.000Z"):
        journal.append(at(time))
    assert journal.sealed == ()


def test_clock_that_is_set_back_seals_once(tmp_path: Path) -> None:
    """The segment of the later hour is complete; the next one belongs to the hour of the clock."""
    clock = Clock(MIDNIGHT_MS + 2 * HOUR_MS)
    journal = open_journal(tmp_path, clock_ms=clock)
    journal.append(numbered(1))
    clock.now_ms = MIDNIGHT_MS
    for n in (2, 3):
        journal.append(numbered(n))
    assert len(journal.sealed) == 1


@pytest.mark.parametrize("hours", [1, 24 * 7])
def test_empty_segment_gets_a_current_header_in_another_hour(tmp_path: Path, hours: int) -> None:
    """The Init phase may be hours (provisioned concurrency) or weeks (SnapStart) before the first record."""
    clock = Clock(MIDNIGHT_MS)
    journal = open_journal(tmp_path, clock_ms=clock)
    clock.now_ms += hours * HOUR_MS
    journal.append(b"junk without a time")
    sealed = journal.seal()
    assert sealed
    assert (sealed.number, sealed.opened_ms) == (1, clock.now_ms)
    assert [path.suffix for path in tmp_path.glob("*-00000001.*")] == [".sealed"]


def test_kill_while_an_empty_segment_is_opened_again_leaves_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are empty then, and their number is used once."""
    clock = Clock(MIDNIGHT_MS)
    journal = open_journal(tmp_path, clock_ms=clock)
    clock.now_ms += HOUR_MS
    with monkeypatch.context() as patch:
        patch.setattr(OpenFile, "discard", OpenFile.close)
        journal._open_again()
    close(journal)
    assert len(list(tmp_path.glob("*.open"))) == 2
    journal = open_journal(tmp_path, clock_ms=clock)
    journal.append(numbered(1))
    sealed = journal.seal()
    assert sealed
    assert (sealed.number, len(list(tmp_path.glob("*.open")))) == (1, 1)


@pytest.mark.parametrize("reason", ["hour", "size"])
def test_segment_is_not_sealed_between_the_halves_of_a_cut_record(tmp_path: Path, reason: str) -> None:
    """Neither half is JSON by itself, and an object is read alone."""
    clock = Clock(MIDNIGHT_MS - 60_000)
    journal = open_journal(tmp_path, clock_ms=clock, limit_bytes=4000)
    head = '[{"time":"2026-11-18T23:59:00.000Z","type":"function","record":'
    reader = decoder.Reader()
    for half in (f'{head}"{"x" * 1200}}}]', f'{head}y"}}]'):
        journal.append(half.encode())
        list(reader.read(half.encode()))
        journal.has_partial_record = reader.has_partial_record
        clock.now_ms += HOUR_MS if reason == "hour" else 0
    sealed = journal.seal()
    assert sealed
    (record,) = records_in(journal, sealed)
    assert record["record"] == "x" * 1200 + "y"


# --- the requests


def test_invoke_event_is_noted_in_the_segment_and_is_not_a_record(tmp_path: Path) -> None:
    """A line of the request counts even if `platform.start` comes later, or never."""
    journal = open_journal(tmp_path)
    journal.announce(A)
    assert not journal.waiting_bytes
    journal.append(at("2026-11-19T00:00:00.010Z", {"requestId": A}))
    sealed = journal.seal()
    assert sealed
    (record,) = records_in(journal, sealed)
    assert (record["requestId"], record["requestIdSource"]) == (A, "record")
    journal.append(at("2026-11-19T00:00:01.010Z", {"requestId": A}))
    journal.seal()
    assert len(bodies_in(journal, journal.sealed[1])) == 1, "the header names the request"
    assert records_in(journal, journal.sealed[1])[0]["requestId"] == A


def test_started_requests_survive_a_restart_of_the_shipper(tmp_path: Path) -> None:
    """The next process reads them from the header and the notes of the leftover segment."""
    journal = open_journal(tmp_path)
    journal.announce(A)
    journal.append(numbered(1))
    close(journal)
    started = Invocations()

    def resumed(header: Any, bodies: Any) -> str | None:
        started.resume(header)
        for body in bodies:
            started.see(body)
        return follow(header, [])

    journal = open_journal(tmp_path, following=resumed)
    assert A in started.started
    assert numbers_in([body for body in waiting_in(journal) if b"logferry" not in body]) == [1]


def test_odd_request_id_of_an_invoke_event_is_not_noted(tmp_path: Path) -> None:
    """Only an ID that may appear in a column enters the segment."""
    journal = open_journal(tmp_path)
    journal.announce("x" * 1000)
    journal.append(numbered(1))
    journal.seal()
    assert len(waiting_in(journal)) == 1


# --- records


def test_batches_without_stored_records_wait_for_one_with_records(tmp_path: Path) -> None:
    """`LOGFERRY_TYPES=function` and a quiet function would otherwise store an object without records per invocation."""
    journal = open_journal(tmp_path, is_omitted=batch_facts.is_only_platform)
    start = (
        b'[{"time":"2026-11-19T00:00:00.000Z","type":"platform.start","record":{"requestId":"' + A.encode() + b'"}}]'
    )
    journal.append(start)
    assert journal.waiting_bytes == 0
    assert journal.seal() is None
    journal.append(at("2026-11-19T00:00:00.010Z"))
    sealed = journal.seal()
    assert sealed
    assert [r.get("requestId") for r in records_in(journal, sealed)] == [A, A]
    journal.append(start)
    last = journal.seal(last=True)
    assert last
    assert last.number == 2


def test_only_segment_of_an_environment_is_not_sealed_without_stored_records(tmp_path: Path) -> None:
    """A function that logs nothing stores no object; a record that arrives after the end is still sealed."""
    journal = open_journal(tmp_path, is_omitted=lambda body: body == numbered(1))
    journal.append(numbered(1))
    assert journal.seal(last=True) is None
    assert journal.sealed == ()
    journal.append(numbered(2))
    last = journal.seal(last=True)
    assert last
    assert (last.number, last.final) == (1, True)


@pytest.mark.parametrize("n", [50])
def test_batches_without_stored_records_are_sealed_at_the_limit_of_a_segment(tmp_path: Path, n: int) -> None:
    """The spool stays bounded, and its oldest segments are discarded as usual."""
    journal = open_journal(tmp_path, is_omitted=lambda _: True, limit_bytes=4000)
    for number in range(n):
        journal.append(numbered(number, size=300))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert journal.sealed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'[{"time":"t","type":"platform.start","record":{"tracing":{"type":"X-Amzn-Trace-Id"}}}]', True),
        (b'[{"time":"t","type":"platform.start","record":{}},{"time":"t","type":"function","record":"x"}]', False),
        (b'[{"time":"t","type":"platform.start","record":{}},{"time":"t","type":"new","record":"x"}]', False),
        (b'[{"type":"platform.start","time":"t","record":{}}]', False),
        (b'[{"time":"t","type":"function","record":",\\"type\\":\\"platform."}]', False),
        (b"junk", False),
        (b"[]", False),
    ],
)
def test_only_a_batch_of_platform_events_has_no_stored_record(body: bytes, *, expected: bool) -> None:
    """Any other batch counts as one with records."""
    assert batch_facts.is_only_platform(body) is expected
