"""The intake of events: what is stored, when, under which request, and what is counted as lost."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from logferry.errors import JournalFull
from logferry.instrumentation.event_intake import MAX_MALFORMED, SMALLEST_READ_BYTES
from support.event_harness import event_harness
from support.journal_harness import START_MS

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = "5f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d10"
PREFIX = b'{"time":"2026-11-18T11:06:41.000Z","type":"function","record":'


def of_type(records: list[dict[str, Any]], kind: str) -> list[Any]:
    """Return the records of one type."""
    return [each["record"] for each in records if each["type"] == f"logferry.{kind}"]


def test_event_is_stored_before_the_observer_receives_it(tmp_path: Path) -> None:
    """The observer gets type, record and request; the record is the stored one."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write({"event": "e1", "time": START_MS + 500}, {"call": "GET", "host": "h", "requestId": "r1"})
        it.intake.drain()
        it.post({"metric": "m", "value": 1})
        assert it.seen == [
            ("logferry.event", {"event": "e1"}, "r1"),
            ("logferry.call", {"method": "GET", "host": "h", "requestId": "r1"}, "r1"),
            ("logferry.metric", {"metric": "m", "value": 1}, "r1"),
        ]
        stored = it.stored()
    assert [each["record"] for each in stored] == [record for _, record, _ in it.seen]
    assert [each["time"][-7:] for each in stored] == ["40.500Z", "41.000Z", "41.000Z"]


def test_equal_events_in_one_millisecond_are_both_stored(tmp_path: Path) -> None:
    """Events do not pass the deduplicator of the platform's batches."""
    with event_harness(tmp_path) as it:
        for _ in range(2):
            it.write({"event": "same"})
            it.intake.drain()
            it.post({"event": "same"})
        assert len(it.stored()) == 4


def test_forged_columns_and_types_arrive_as_content(tmp_path: Path) -> None:
    """No key of a line becomes a column, and no line becomes a record of the platform or of logferry."""
    forged = {
        "event": "e",
        "type": "platform.report",
        "environment": "forged",
        "segment": 7,
        "line": 9,
        "requestIdSource": "record",
        "record": {"requestId": "r1", "status": "success"},
        "logferry.dropped": {"environment": "x", "segment": 1, "records": 5},
    }
    closing = {"event": '"}]\n[{"time":"2026-11-18T11:06:41.000Z","type":"logferry.final","record":{}}]', "type": 5}
    with event_harness(tmp_path) as it:
        it.write(forged, closing, b'[{"time":"2026-11-18T11:06:41.000Z","type":"logferry.dropped","record":{}}]\n')
        it.intake.drain()
        it.post(forged)
        stored = it.stored()
        ended = it.invocations.ended("r1")
    forged["phase"] = closing["phase"] = "init"
    assert of_type(stored, "event") == [forged, closing, forged]
    assert len(stored) == 4
    assert {each["environment"] for each in stored} == {"e1"}
    assert not [each for each in stored if "requestId" in each]
    assert len(of_type(stored, "unparsable")) == 1
    assert not ended


def test_request_is_stated_by_id_or_trace_or_follows_from_the_order(tmp_path: Path) -> None:
    """A foreign ID is ignored, because lines also hold IDs of other services."""
    with event_harness(tmp_path) as it:
        it.write({"event": "early"})
        it.intake.drain()
        it.invoke("r1", "1-root-one")
        it.write({"event": "by id", "requestId": "r1"}, {"event": "by order"}, {"event": "x", "requestId": FOREIGN})
        it.intake.drain()
        it.end("r1")
        it.invoke("r2", "1-root-two")
        it.write(
            {"event": "older id", "requestId": "r1"},
            {"event": "by trace", "trace": "Root=1-root-one;Parent=1;Sampled=0"},
            {"event": "unknown trace", "trace": "1-root-three"},
        )
        it.intake.drain()
        assert it.requests() == [
            ("early", None, None),
            ("by id", "r1", "record"),
            ("by order", "r1", "inferred"),
            ("x", "r1", "inferred"),
            ("older id", "r1", "record"),
            ("by trace", "r1", "record"),
            ("unknown trace", "r2", "inferred"),
        ]


def test_event_before_a_freeze_belongs_to_the_invocation_before_it(tmp_path: Path) -> None:
    """The pipe is read at the next INVOKE, when the end of the earlier invocation may not have been delivered yet."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write({"event": "before the freeze"})
        it.invoke("r2")
        it.write({"event": "after it"})
        it.intake.drain()
        assert it.requests() == [("before the freeze", "r1", "inferred"), ("after it", "r2", "inferred")]


@pytest.mark.parametrize("timeout_ms", [1000, 3000, 900_000])
@pytest.mark.parametrize("rounding_ms", [-1, 0, 1])
def test_event_after_a_freeze_belongs_to_the_invocation_that_had_begun(
    tmp_path: Path, timeout_ms: int, rounding_ms: int
) -> None:
    """The runtime may write before the INVOKE is read here: the deadline shows when the invocation had begun."""
    with event_harness(tmp_path) as it:
        it.invoke("r1", deadline_ms=START_MS + 40 + timeout_ms)
        it.write({"event": "a", "time": START_MS + 500}, {"event": "b", "time": START_MS + 798}, {"event": "no time"})
        it.write({"event": "c", "time": START_MS + 802}, {"event": "d", "time": START_MS + 900, "requestId": "r1"})
        it.now_ms = START_MS + 990
        it.invoke("r2", deadline_ms=START_MS + 800 + timeout_ms + rounding_ms)
        it.write({"event": "e", "time": START_MS + 950})
        it.intake.drain()
        assert [(name, request) for name, request, _ in it.requests()] == [
            *[("a", "r1"), ("b", "r1"), ("no time", "r1"), ("c", "r2"), ("d", "r1"), ("e", "r2")],
        ]


def test_event_before_the_first_invoke_is_of_the_init_phase_or_of_the_first_invocation(tmp_path: Path) -> None:
    """The start of the invocation decides, also for the pipe; only an event of the Init phase gets the phase."""
    with event_harness(tmp_path) as it:
        it.now_ms = START_MS + 300
        it.post({"event": "init"}, {"event": "own phase", "phase": "payment"})
        it.now_ms = START_MS + 420
        it.post({"event": "first"}, {"event": "stated", "requestId": FOREIGN})
        it.write({"event": "written in init", "time": START_MS + 390}, {"event": "written", "time": START_MS + 410})
        it.now_ms = START_MS + 430
        it.invoke(FOREIGN, deadline_ms=START_MS + 400 + 3000)
        it.intake.collect()
        stored = {each["record"]["event"]: (each["record"].get("phase"), each.get("requestId")) for each in it.stored()}
    assert stored == {
        "init": ("init", None),
        "own phase": ("payment", None),
        "first": (None, FOREIGN),
        "stated": (None, FOREIGN),
        "written in init": ("init", None),
        "written": (None, FOREIGN),
    }


def test_deadlines_that_contradict_a_start_are_not_used(tmp_path: Path) -> None:
    """If the clocks of platform and function differ, an event follows the order."""
    with event_harness(tmp_path) as it:
        it.invoke("r1", deadline_ms=START_MS + 3_500)
        it.intake.attribution.note_start("r1", "2026-11-18T11:06:39.923Z")
        it.write({"event": "a", "time": START_MS + 900})
        it.invoke("r2", deadline_ms=START_MS + 3_600)
        assert it.requests() == [("a", "r1", "inferred")]


def test_event_that_overtakes_its_invoke_belongs_to_it(tmp_path: Path) -> None:
    """The function may write before the INVOKE reaches the shipper: everything earlier was read, so it is the next."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.end("r1")
        it.intake.drain()
        it.write({"event": "no id"}, {"event": "with id", "requestId": "r2"})
        it.invoke("r2")
        assert it.requests() == [("no id", "r2", "inferred"), ("with id", "r2", "record")]


def test_packet_that_has_arrived_is_taken_in_before_the_event_behind_it(tmp_path: Path) -> None:
    """The event loop may see the event first, although the INVOKE was sent before it."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        waiting = ["r2", "r3"]

        def receive() -> None:
            if waiting:
                it.invoke(waiting.pop(0))

        it.intake.refresh = receive
        it.post({"event": "posted", "requestId": "r2"})
        it.write({"event": "written", "requestId": "r3"})
        it.intake.drain()
        assert [request for _, request, _ in it.requests()] == ["r2", "r3"]


def test_event_after_the_end_of_an_invocation_has_no_request(tmp_path: Path) -> None:
    """A process that goes on between two invocations belongs to neither."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.end("r1")
        it.write({"event": "written before the end"})
        it.intake.drain()
        it.write({"event": "written later"})
        it.intake.drain()
        it.post({"event": "posted later"})
        assert [request for _, request, _ in it.requests()] == ["r1", None, None]


def test_repeated_invoke_of_a_new_shipper_belongs_to_it(tmp_path: Path) -> None:
    """The earlier shipper had read everything before this invocation."""
    with event_harness(tmp_path) as it:
        it.write({"event": "of the invocation"})
        it.invoke("r1", again=True)
        assert it.requests() == [("of the invocation", "r1", "inferred")]


def test_concurrent_invocations_state_their_request(tmp_path: Path) -> None:
    """On Managed Instances an ID counts before its `platform.start`, and nothing follows from the order."""
    with event_harness(tmp_path, managed=True) as it:
        it.deliver("platform.start", {"requestId": "r1"})
        it.write({"event": "started", "requestId": "r1"}, {"event": "not yet", "requestId": FOREIGN})
        it.write({"event": "none"}, {"event": "no request", "requestId": "order-4711"})
        it.intake.drain()
        it.deliver("platform.start", {"requestId": "r2"})
        assert it.requests() == [
            ("started", "r1", "record"),
            ("not yet", FOREIGN, "record"),
            ("none", None, None),
            ("no request", None, None),
        ]


@pytest.mark.parametrize("managed", [False, True], ids=["invocation", "second"])
def test_limit_counts_the_events_of_an_invocation_or_of_a_second(tmp_path: Path, *, managed: bool) -> None:
    """Further events are counted, and the next invocation or second has the whole limit again."""
    with event_harness(tmp_path, limit=3, managed=managed) as it:
        it.invoke("r1")
        it.write(*({"event": f"a{n}"} for n in range(5)))
        it.intake.drain()
        it.write({"event": "a5"})
        it.now_ms += 1000
        it.invoke("r2")
        it.write(*({"event": f"b{n}"} for n in range(2)))
        it.intake.drain()
        stored = [name for name, _, _ in it.requests()]
        lost = sum(count for reason, count, _ in it.lost if reason == "limit")
    assert stored == (["a0", "a1", "a2", "a5", "b0", "b1"] if managed else ["a0", "a1", "a2", "b0", "b1"])
    assert len(stored) + lost == 8
    assert len(it.warnings) == 1
    assert "LOGFERRY_EVENTS_LIMIT" in it.warnings[0][0]


def test_calls_in_a_summary_are_observed_and_not_stored(tmp_path: Path) -> None:
    """They do not count towards the limit of stored events either."""
    with event_harness(tmp_path, limit=1, store_calls=False) as it:
        it.invoke("r1")
        it.write(*({"call": "GET", "host": f"h{n}", "requestId": "r1"} for n in range(3)), {"event": "e"})
        it.write({"call": "PUT", "host": "h3", "requestId": "r1"})
        it.intake.drain()
        assert [(kind, request) for kind, _, request in it.seen] == [
            *[("logferry.call", "r1")] * 3,
            ("logferry.event", "r1"),
            ("logferry.call", "r1"),
        ]
        assert it.requests() == [("e", "r1", "inferred")]
        assert it.lost == []


def test_junk_is_counted_and_one_line_in_a_second_is_kept(tmp_path: Path) -> None:
    """The first malformed line becomes a `logferry.unparsable` record; valid lines around it are stored."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write(
            b"junk\n", {"event": "a"}, b"\x00\xff\n", b"\n", {"event": "b"}, b"x" * 4000 + b"\n", b"y" * 5000 + b"\n"
        )
        it.intake.drain()
        it.write(b"more\n")
        it.intake.drain()
        it.now_ms += 1000
        it.write(b"\xff\n")
        it.intake.drain()
        stored = it.stored()
    assert [each["event"] for each in of_type(stored, "event")] == ["a", "b"]
    assert of_type(stored, "unparsable") == [{"text": "junk"}, {"base64": "/w=="}]
    assert sorted(it.lost) == [
        ("malformed", 1, "r1"),
        ("malformed", 1, "r1"),
        ("malformed", 3, "r1"),
        ("oversized", 1, "r1"),
    ]
    assert [details["reason"] for _, details in it.warnings] == ["oversized", "malformed"]


def test_flood_of_junk_is_counted_without_being_parsed(tmp_path: Path) -> None:
    """After a number of malformed lines the rest of a request is counted only."""
    with event_harness(tmp_path) as it:
        taken = it.intake.accept([*[b"{"] * (MAX_MALFORMED + 10), b'{"event":"behind the flood"}'])
        assert (taken.malformed, taken.malformed_number, taken.events) == (MAX_MALFORMED + 11, 1, [])


def test_lost_events_of_a_hook_are_counted(tmp_path: Path) -> None:
    """A hook that found the pipe full states the number in its next line."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write({"call": "GET", "host": "h", "requestId": "r1", "pid": 4, "n": 9, "lost": 8})
        it.intake.drain()
        assert it.lost == [("pipeFull", 8, "r1")]
        (call,) = of_type(it.stored(), "call")
        assert call["lost"] == 8


def test_full_journal_leaves_events_in_the_pipe(tmp_path: Path) -> None:
    """One read waits in memory, the rest in the pipe; all are stored when the journal has room again."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        store, full = it.intake._store, True

        def refuse(batch: Any) -> None:
            if full:
                raise JournalFull("full")
            store(batch)

        it.intake._store = refuse
        it.write(*({"event": f"e{n}", "padding": "x" * 900} for n in range(200)))
        for _ in range(3):
            it.intake.drain()
        assert it.seen == []
        with pytest.raises(JournalFull):
            it.post({"event": "refused"})
        full = False
        it.intake.drain()
        assert [name for name, _, _ in it.requests()] == [f"e{n}" for n in range(200)]
        assert len(it.seen) == 200
        assert it.lost == []


def test_events_that_cannot_be_stored_at_the_end_are_counted(tmp_path: Path) -> None:
    """The last read is counted, because nothing can store it any more."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.platform.close()
        it.write({"event": "a"}, {"event": "b"})
        it.intake.finish()
        assert it.lost == [("journalFull", 2, "r1")]


def test_last_line_without_a_line_break_is_stored_at_the_end(tmp_path: Path) -> None:
    """A process that ended in the middle of a line leaves a half line, which is not an event."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write(b'{"event":"complete"}')
        it.intake.drain()
        assert it.seen == []
        it.intake.finish()
        assert [record for _, record, _ in it.seen] == [{"event": "complete"}]


@pytest.mark.parametrize("events", [0, 1, 3])
def test_events_between_the_halves_of_a_cut_record_do_no_harm(tmp_path: Path, events: int) -> None:
    """The platform's record is joined, and every event is a separate record (also the note of an INVOKE)."""
    halves = b"[" + PREFIX + b'"' + b"x" * 300_000 + b"}]", b"[" + PREFIX + b'y"}]'
    with event_harness(tmp_path) as it:
        it.platform.accept(halves[0])
        assert it.journal.has_partial_record
        it.invoke("r1")
        for number in range(events):
            it.write({"event": f"e{number}", "text": "logferry.damaged"})
            it.intake.drain()
        it.platform.accept(halves[1])
        assert not it.journal.has_partial_record
        stored = it.stored()
    assert [each["record"]["event"] for each in stored if each["type"] == "logferry.event"] == [
        f"e{number}" for number in range(events)
    ]
    (line,) = [each["record"] for each in stored if each["type"] == "function"]
    assert line == "x" * 300_000 + "y"
    assert not of_type(stored, "unparsable")


def test_pipe_is_read_completely_but_never_beyond_its_capacity(tmp_path: Path) -> None:
    """A writer that never stops cannot keep the shipper in one read."""
    with event_harness(tmp_path, limit=1) as it:
        it.invoke("r1")
        read = it.intake._pipe.read  # type: ignore[union-attr]  # the harness has a pipe
        reads = 0

        def endless() -> list[bytes] | None:
            nonlocal reads
            reads += 1
            lines = read()
            os.write(it.writing, b'{"event":"more"}\n' * 100)
            return lines

        it.write(b'{"event":"more"}\n' * 100)
        it.intake._pipe.read = endless  # type: ignore[method-assign,union-attr]
        it.intake.drain()
        assert 1 < reads <= 1 + it.intake._pipe.capacity // SMALLEST_READ_BYTES  # type: ignore[union-attr]
        assert json.dumps(it.lost[0]) == '["limit", 99, "r1"]'


def test_provisional_request_is_settled_at_the_next_invoke(tmp_path: Path) -> None:
    """Over HTTP, an event may overtake the INVOKE of its invocation. It is stored at once, and its request later."""
    with event_harness(tmp_path) as it:
        it.invoke("r1", deadline_ms=START_MS + 3_000)
        it.end("r1")
        it.intake.drain()
        it.post({"event": "background", "time": START_MS + 600})
        it.post({"event": "no id"}, {"event": "with id", "requestId": FOREIGN}, {"event": "x", "requestId": "r1"})
        assert [request for _, _, request in it.seen] == ["r1"]
        it.invoke(FOREIGN, deadline_ms=START_MS + 900 + 3_000)
        it.post({"event": "later"})
        assert [record["event"] for _, record, _ in it.seen] == ["x", "background", "no id", "with id", "later"]
        assert sorted(it.requests()) == [
            ("background", None, None),
            ("later", FOREIGN, "inferred"),
            ("no id", FOREIGN, "inferred"),
            ("with id", FOREIGN, "record"),
            ("x", "r1", "record"),
        ]
        assert {record["event"]: request for _, record, request in it.seen} == {
            name: request for name, request, _ in it.requests()
        }


@pytest.mark.parametrize("seconds", [0, 5])
def test_provisional_request_without_an_invoke_is_that_of_the_order(tmp_path: Path, seconds: int) -> None:
    """A foreign ID is settled before the segment is sealed, or with a later read."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.post({"event": "a", "requestId": FOREIGN})
        assert it.seen == []
        it.now_ms += seconds * 1000
        if seconds:
            it.intake.read_once()
        else:
            it.intake.collect()
        it.invoke("r2")
        assert it.seen == [("logferry.event", {"event": "a", "requestId": FOREIGN}, "r1")]
        assert it.requests() == [("a", "r1", "inferred")]


@pytest.mark.parametrize("is_held", [False, True])
def test_event_of_an_invocation_that_has_ended_is_not_provisional(tmp_path: Path, *, is_held: bool) -> None:
    """It is counted in the summary, which is made when the end has arrived. A held event excludes a later INVOKE."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.write({"event": "a", "time": START_MS + 500}, {"event": "b", "time": START_MS + 501}, {"event": "c"})
        it.end("r1")
        it.intake.attribution.note_end("r1", "2026-11-18T11:06:40.500Z")
        it.intake.attribution.is_held = is_held
        it.intake.drain()
        assert [record["event"] for _, record, _ in it.seen] == (["a", "b", "c"] if is_held else ["a"])
        it.intake.collect()
        assert {request for _, request, _ in it.requests()} == {"r1"}


def test_provisional_request_survives_a_seal_in_between(tmp_path: Path) -> None:
    """A segment that is sealed before the settlement keeps the provisional request; the next one is not affected."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.post({"event": "a", "requestId": FOREIGN}, {"event": "b", "requestId": FOREIGN})
        it.journal.seal()
        it.post({"event": "c", "requestId": FOREIGN}, {"event": "d", "requestId": "r1"})
        it.invoke(FOREIGN)
        assert it.requests() == [
            ("a", "r1", "inferred"),
            ("b", "r1", "inferred"),
            ("d", "r1", "record"),
            ("c", FOREIGN, "record"),
        ]


def test_provisional_requests_are_settled_when_the_journal_has_room_again(tmp_path: Path) -> None:
    """A refused settlement is repeated with all events since then, so the notes stay complete."""
    with event_harness(tmp_path) as it:
        it.invoke("r1")
        it.post({"event": "a", "requestId": FOREIGN})
        store, it.intake._store = it.intake._store, refuse_all
        it.intake.collect()
        assert it.seen == []
        it.intake._store = store
        it.post({"event": "b", "requestId": FOREIGN})
        it.invoke(FOREIGN)
        assert it.requests() == [("a", FOREIGN, "record"), ("b", FOREIGN, "record")]


def refuse_all(_batch: bytes) -> None:
    """Refuse a batch as a full journal does."""
    raise JournalFull("full")
