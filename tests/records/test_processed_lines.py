"""Selected and masked lines: no kept record is lost, both readers agree, and a failing rule loses nothing."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import Any
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.records import decoder, fast_path, text_block
from logferry.records.encoder import encode
from logferry.records.internal import EVENT, TIMEOUT, dropped_batch, internal_batch, sent_batch
from logferry.records.lines import Lines
from logferry.records.masking import Masker
from logferry.records.object_key import DEFAULT_KEY
from logferry.records.processed_lines import FAILED, ProcessedLines
from logferry.records.selection import Selection
from records.test_fast_path import near_plain
from support.batch_strategies import ANYTHING, deliveries
from support.format_1 import read_lines, read_object
from support.processed import ALL, HEADER, ORIGIN, TIME, A, B, batch, closing_of, encoded, event, options, records_of

THOROUGH = settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
EVERY_MASK = r"email,ipv4,ipv6,aws-keys,jwt,bearer,card,word=/requ\w*/,/^\[INFO/,$.a,$..requestId,$.note=/\d+/"
RULES = [
    {},
    {"EXCLUDE": "request"},
    {"INCLUDE": r"INFO|\d{3}|^a"},
    {"MIN_LEVEL": "warn", "EXCLUDE": "x$"},
    {"EXCLUDE_TYPES": "platform.start,ext*"},
    {"SAMPLE": "0.5"},
    {"SAMPLE": "0", "SAMPLE_KEEP": "errors"},
    {"MASK": EVERY_MASK},
    {"MASK": r"email,$[*]", "EXCLUDE": r"\Arequest", "SAMPLE": "0.5"},
]
EVERY_BODY = near_plain() | near_plain() | ANYTHING | deliveries().map(lambda drawn: drawn[1])


@THOROUGH
@given(bodies=st.lists(EVERY_BODY, min_size=1, max_size=3), concurrent=st.booleans(), final=st.booleans())
def test_lines_without_rules_are_those_of_the_plain_path(bodies: list[bytes], concurrent: bool, final: bool) -> None:
    """The two classes read records in separate code, which must agree in every case."""
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=concurrent), request_id=B)
    plain, processed = (
        encode(
            header, bodies, final=final, key=DEFAULT_KEY, compress=False, types=ALL, min_batch_bytes=0, make_lines=make
        )
        for make in (lambda *a: Lines(a[0], a[1]), lambda *a: ProcessedLines(a[0], a[1]))
    )
    assert processed == plain


@pytest.mark.parametrize("rules", RULES, ids=str)
@settings(THOROUGH, max_examples=60)
@given(bodies=st.lists(EVERY_BODY, min_size=1, max_size=3), concurrent=st.booleans())
def test_object_has_the_same_bytes_with_and_without_the_fast_path(
    rules: dict[str, str], bodies: list[bytes], concurrent: bool
) -> None:
    """One search over the joined texts of a run finds what a search in each text finds."""
    chosen = options(rules)
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=concurrent))
    with patch.object(fast_path, "RUN_CHARACTERS", 300), patch.object(text_block, "MAX_CANDIDATES", 2):
        taken, parsed = (encoded(bodies, chosen, header=header, min_batch_bytes=least) for least in (0, sys.maxsize))
    assert taken == parsed


@pytest.mark.parametrize("rules", RULES, ids=str)
@settings(THOROUGH, max_examples=60)
@given(bodies=st.lists(EVERY_BODY, min_size=1, max_size=3))
def test_every_record_is_stored_or_counted(rules: dict[str, str], bodies: list[bytes]) -> None:
    """The object is of format 1, and its records and filtered records are all records of the segment."""
    stored = encoded(bodies, rules)
    found, closing = read_object(stored.body, stored.metadata)
    assert len(found) + closing.get("filtered", 0) == decoder.count_records(bodies)
    assert stored.metadata.get("filtered", "0") == str(closing.get("filtered", 0))
    assert ("filtered" in closing) == bool(rules.keys() - {"MASK"})
    assert "failed" not in closing


LINES = ["[INFO]\tGET /health", "[DEBUG]\tcache miss", "[ERROR]\tGET /health failed", "no level", '{"level":"debug"}']


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"MIN_LEVEL": "info"}, [0, 2, 3]),
        ({"MIN_LEVEL": "error"}, [2, 3]),
        ({"EXCLUDE": "health"}, [1, 3, 4]),
        ({"INCLUDE": "health|level$"}, [0, 2, 3]),
        ({"INCLUDE": "health", "EXCLUDE": "failed", "MIN_LEVEL": "info"}, [0]),
        ({"EXCLUDE_TYPES": "platform.*"}, [0, 1, 2, 3, 4]),
        ({"EXCLUDE_TYPES": "function"}, []),
    ],
    ids=str,
)
@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_line_is_stored_if_each_rule_keeps_it(rules: dict[str, str], kept: list[int], least: int) -> None:
    """The dropped lines are counted, and the stored ones are numbered without a gap."""
    stored = encoded([batch(*LINES)], rules, min_batch_bytes=least)
    assert records_of(stored) == [LINES[index] for index in kept]
    assert closing_of(stored)["filtered"] == len(LINES) - len(kept)


def test_rules_for_lines_keep_records_of_platform_and_logferry() -> None:
    """An expression that matches everything must not drop reports."""
    losses = dropped_batch(
        [{"environment": "a", "segment": 1, "until": 1, "records": 1, "bytes": 1, "reason": "x"}], at_ms=1
    )
    start = event({"requestId": A}, kind="platform.start")
    rules = {"INCLUDE": "nothing", "EXCLUDE": "e", "MIN_LEVEL": "fatal", "SAMPLE": "0"}
    stored = encoded([batch(start, "line e"), losses, b"no batch"], rules)
    kinds = [line["type"] for line in read_lines(stored.body)]
    assert kinds == ["logferry.dropped", "logferry.unparsable", "logferry.segment"]
    assert closing_of(stored)["filtered"] == 2


def test_rules_apply_to_structured_records_and_their_json_text() -> None:
    """A record of the JSON log format is an object."""
    debug, info = {"level": "DEBUG", "message": "x"}, {"level": "INFO", "message": "healthy"}
    assert records_of(encoded([batch(event(debug), event(info))], {"MIN_LEVEL": "info"})) == [info]
    assert records_of(encoded([batch(event(debug), event(info))], {"EXCLUDE": '"message":"healthy"'})) == [debug]


@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_masked_record_keeps_its_request_type_and_time(least: int) -> None:
    """Attribution reads what the platform has delivered."""
    line = f"[INFO]\t{TIME}\t{A}\tfrom 10.0.0.1\n"
    stored = encoded([batch(line, "plain")], {"MASK": r"ipv4,/[0-9a-f-]{36}/"}, min_batch_bytes=least)
    found = read_lines(stored.body)[0]
    assert found["message"] == f"[INFO]\t{TIME}\t[masked]\tfrom [ipv4]\n"
    assert (found["requestId"], found["requestIdSource"], found["time"]) == (A, "record", TIME)
    assert closing_of(stored)["masked"] == int(stored.metadata["masked"]) == 1


def test_every_column_is_masked() -> None:
    """Text, JSON, elements that are no events, types of posted elements, and undecodable bytes."""
    bodies = [
        batch(event({"to": "a@b.io"}), event("to a@b.io"), {"type": "a@b.io", "record": '{"to":"a@b.io"}'}),
        batch({"time": "yesterday a@b.io", "type": "function", "record": "a@b.io"}, event("a@b.io", time="x")),
        b'[{"time":"x","to":"a@b.io"},"a@b.io",7]',
        b"a@b.io \xff\xfe",
        batch(event({"error": "a@b.io"}, kind="platform.fault")),
    ]
    stored = encoded(bodies, {"MASK": "email"})
    assert b"@" not in stored.body
    assert b"@" not in b"".join(base64.b64decode(m) for m in re.findall(rb"base64\W+([\w+/=]+)", stored.body))
    assert stored.body.count(b"[email]") >= 9
    read_object(stored.body, stored.metadata)


def test_path_leads_into_records_of_each_form() -> None:
    """A record is an object, JSON text, or a member of an element that is no event."""
    secret = {"user": {"password": "hunter2", "name": "x"}}
    odd = {"time": TIME, "type": "function", "record": secret, "more": 1}
    stored = encoded([batch(event(secret), event(json.dumps(secret)), odd)], {"MASK": "$.user.password"})
    assert b"hunter2" not in stored.body
    assert closing_of(stored)["masked"] == 3


def test_report_of_a_loss_is_stored_unchanged() -> None:
    """`logferry verify` reads the numbers in it, and an expression of a user may match every number."""
    loss = {"environment": "0a1b2c", "segment": 12, "until": 13, "records": 7, "bytes": 1, "reason": "10.0.0.1"}
    stored = encoded([dropped_batch([loss], at_ms=1)], {"MASK": r"ipv4,/\d+/"})
    assert records_of(stored) == [loss]


def test_measurements_of_the_platform_stay_numbers() -> None:
    """Queries read durations as numbers, and an expression of a user may match every number."""
    report = {"requestId": A, "errorType": "a@b.io", "metrics": {"durationMs": 4111111111111111}}
    stored = encoded([batch(event(report, kind="platform.report"))], {"MASK": r"email,card,/\d+/"})
    assert records_of(stored)[0]["metrics"] == report["metrics"]
    assert records_of(stored)[0]["errorType"] == "[email]"


class BrokenRuleError(Exception):
    """A fault that no rule should have."""


def fails(*_: object, **__: object) -> Any:
    """Fail like a rule with a fault."""
    raise BrokenRuleError


@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_failing_mask_replaces_the_record_and_is_counted(least: int) -> None:
    """A record that cannot be masked is neither passed nor dropped."""
    bodies = [batch("a@b.io", "plain", event({"to": "a@b.io"}), {"type": "x", "more": "a@b.io"})]
    with patch.object(Masker, "text", fails), patch.object(Masker, "json", fails):
        stored = encoded(bodies, {"MASK": "email"}, min_batch_bytes=least)
    *found, closing = read_lines(stored.body)
    assert [line.get("message", line.get("record", line.get("event"))) for line in found] == [
        *(FAILED, "plain", json.dumps(FAILED), json.dumps(FAILED))
    ]
    assert json.loads(closing["record"])["failed"] == int(stored.metadata["failed"]) == 3


@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_failing_selection_keeps_the_record_and_is_counted(least: int) -> None:
    """A fault of a rule loses no record."""
    with patch.object(Selection, "drops_line", fails), patch.object(Selection, "dropped_in", fails):
        stored = encoded([batch("a", "b")], {"EXCLUDE": "a"}, min_batch_bytes=least)
    assert records_of(stored) == ["a", "b"]
    assert closing_of(stored)["failed"] == 2


def invocation(request: str, status: str | None, *lines: str, **more: Any) -> list[dict[str, Any]]:
    """Return the records of an invocation up to its end; without a status, the end is not among them."""
    end = [event({"requestId": request, "status": status, **more}, kind="platform.runtimeDone")] if status else []
    return [event({"requestId": request}, kind="platform.start"), *map(event, lines), *end]


@pytest.mark.parametrize("request_id", [A, B])
def test_invocation_is_dropped_as_a_whole_across_segments(request_id: str) -> None:
    """The decision depends on the request ID alone; lines without a request are kept."""
    first = batch("init", *invocation(request_id, None, "1"))
    second = batch("2", *invocation(request_id, "success")[1:])
    later = HEADER._replace(number=8, request_id=request_id, started=(request_id,))
    for share in ("0.0", "0.9999999999"):
        rules = {"SAMPLE": share}
        kept = records_of(encoded([first], rules)) + records_of(encoded([second], rules, header=later))
        assert len(kept) == (1 if share == "0.0" else 5)


def test_sample_keeps_its_share_of_the_invocations() -> None:
    """Request IDs are random, so the share of a thousand is near the setting."""
    chosen = options({"SAMPLE": "0.25"})
    requests = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1000)]
    events = [each for request in requests for each in invocation(request, "success", "line")]
    stored = encoded([batch(*events)], chosen)
    found = read_object(stored.body, stored.metadata)[0]
    counts = dict.fromkeys(requests, 0)
    for record in found:
        counts[record["requestId"]] += 1
    assert set(counts.values()) == {0, 3}
    assert 150 < sum(count == 3 for count in counts.values()) < 350


ERRORS = {"SAMPLE": "0", "SAMPLE_KEEP": "errors"}


@pytest.mark.parametrize(
    ("status", "kept"),
    [("success", 0), ("failure", 3), ("error", 3), ("timeout", 3), ("new status", 3), (None, 2)],
)
@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_invocation_that_did_not_provably_succeed_is_kept(status: str | None, kept: int, least: int) -> None:
    """The end is read before the first line is written; without an end the invocation may have failed."""
    stored = encoded([batch(*invocation(A, status, "line"))], ERRORS, min_batch_bytes=least)
    assert len(records_of(stored)) == kept


def test_invocation_over_two_segments_is_kept_as_a_whole() -> None:
    """The second segment was opened while the invocation ran, so the first one has kept its part."""
    events = invocation(A, "success", "1", "2")
    first = encoded([batch(*events[:2])], ERRORS)
    second = encoded([batch(*events[2:])], ERRORS, header=HEADER._replace(number=8, request_id=A))
    assert len(records_of(first) + records_of(second)) == 4


def test_records_that_the_function_sent_follow_their_invocation() -> None:
    """An event of a dropped invocation is dropped, and the record of a timeout is kept and keeps the invocation."""
    at = {"at_ms": 1_795_227_984_357}
    sent = sent_batch([(((A, "record"), False), EVENT, TIME, '{"to":"a@b.io"}')], unparsable=b"", **at)
    bodies = [batch(*invocation(A, "success")), sent]
    assert records_of(encoded(bodies, {**ERRORS, "MASK": "email"})) == []
    kept = records_of(
        encoded([*bodies, internal_batch(TIMEOUT, [{"requestId": A}], **at)], {**ERRORS, "MASK": "email"})
    )
    assert len(kept) == 4
    assert {"to": "[email]"} in kept


def test_late_report_follows_its_invocation() -> None:
    """The report of an invocation arrives with the next one, in a later segment."""
    report = event({"requestId": B, "status": "success"}, kind="platform.report")
    failed = event({"requestId": B, "status": "timeout"}, kind="platform.report")
    assert records_of(encoded([batch(report)], ERRORS)) == []
    assert len(records_of(encoded([batch(failed)], ERRORS))) == 1
    fault = event(f"RequestId: {A} Error: Runtime exited", kind="platform.fault")
    assert len(records_of(encoded([batch(*invocation(A, "success"), fault)], ERRORS))) == 3


def test_concurrent_invocations_are_dropped_only_with_start_and_end_in_the_segment() -> None:
    """On Managed Instances, a header names no running request."""
    header = HEADER._replace(origin=ORIGIN._replace(concurrent=True))
    both = [*invocation(A, "success", f"[INFO]\t{TIME}\t{A}\tx"), *invocation(B, "success")[1:]]
    stored = encoded([batch(*both)], ERRORS, header=header)
    assert [record["requestId"] for record in records_of(stored)] == [B]


def test_key_of_an_object_without_kept_records_is_that_of_its_invocation() -> None:
    """A sampled environment stores an object for each segment, so that `verify` finds no gap."""
    header = HEADER._replace(opened_ms=1_790_000_000_000)
    stored = encoded([batch(*invocation(A, "success", "line"))], {"SAMPLE": "0"}, header=header)
    assert stored.key.startswith("function=orders/dt=2026-11-21/hour=02/022624Z-")
    assert stored.metadata["records"] == "0"
    assert closing_of(stored)["filtered"] == 3


def test_filtered_record_does_not_extend_the_time_range() -> None:
    """The range describes the stored records."""
    stored = encoded([batch(event("drop", time="2026-11-21T01:00:00.000Z"), event("keep"))], {"EXCLUDE": "drop"})
    assert (stored.metadata["first-time"], stored.metadata["last-time"]) == (TIME, TIME)
