"""Further columns of a line, and the fields of the closing line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.processed import HEADER, ORIGIN, TIME, A, B, batch, closing_of, encoded, event

if TYPE_CHECKING:
    from logferry.records.model import Header

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
START = {
    "requestId": A,
    "version": "1",
    "tenantId": 'blue "x"',
    "tracing": {"spanId": "1", "type": "X-Amzn-Trace-Id", "value": f"Root={TRACE};Parent=1;Sampled=1"},
}
EVERY = {"FIELDS": "team=x,env=prod", "LINE_FIELDS": "fields,account,level,coldStart,tenantId,traceId"}
WITH_ACCOUNT = HEADER._replace(origin=ORIGIN._replace(account="123456789012"), started=())


def lines_of(
    *bodies: bytes, rules: dict[str, str], header: Header = WITH_ACCOUNT, least: int = 0
) -> list[dict[str, Any]]:
    """Return the lines of an object as JSON, with the closing line."""
    stored = encoded(bodies, rules, header=header, min_batch_bytes=least)
    return [json.loads(line) for line in stored.body.splitlines()]


@pytest.mark.parametrize("least", [0, sys.maxsize], ids=["run", "events"])
def test_line_has_the_columns_of_its_request_before_its_place(least: int) -> None:
    """The place stays at the end, so that `logferry verify` finds it quickly."""
    bodies = batch(event(START, kind="platform.start"), f"[WARNING]\t{TIME}\t{A}\tx", "no level")
    found = lines_of(bodies, rules=EVERY, least=least)
    of_request = {"traceId": TRACE, "tenantId": 'blue "x"', "coldStart": "true"}
    static = {"team": "x", "env": "prod", "account": "123456789012"}
    for number, (line, level) in enumerate(zip(found, [{}, {"level": "warn"}, {}], strict=False), 1):
        place = {"environment": "0a1b2c", "segment": 7, "line": number}
        expected = [*level, "requestId", "requestIdSource", *of_request, *static, *place]
        assert list(line)[3:] == expected
        assert line | level | of_request | static | place == line


def test_closing_line_has_the_fields_in_its_record() -> None:
    """Its columns are those of every closing line."""
    stored = encoded([batch("x")], EVERY, header=WITH_ACCOUNT)
    assert closing_of(encoded([batch("x")], {"FIELDS": "team=x"}))["fields"] == {"team": "x"}
    closing = json.loads(stored.body.splitlines()[-1])
    assert list(closing) == ["time", "type", "record", "environment", "segment", "line"]
    assert json.loads(closing["record"])["account"] == "123456789012"


def test_fields_are_only_in_the_closing_line_by_default() -> None:
    """A column in each line costs bytes."""
    found = lines_of(batch("x"), rules={"FIELDS": "team=x"})
    assert "team" not in found[0]
    assert json.loads(found[-1]["record"])["fields"] == {"team": "x"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER._replace(started=()), [A]),
        (HEADER._replace(started=(A,)), [A]),
        (HEADER._replace(started=(B,)), [B]),
        (HEADER._replace(started=tuple(f"{n:036d}" for n in range(64))), []),
        (HEADER._replace(started=(), origin=ORIGIN._replace(environment="0a1b2cr2")), []),
    ],
    ids=["first", "continued", "other", "many", "restarted"],
)
def test_cold_start_is_the_first_request_of_the_environment(header: Header, expected: list[str]) -> None:
    """After a restart without the spool, the first request is unknown."""
    bodies = batch(*(event({"requestId": each}, kind="platform.start") for each in (A, B)))
    found = lines_of(bodies, rules={"LINE_FIELDS": "coldStart"}, header=header)
    assert [line["requestId"] for line in found if line.get("coldStart") == "true"] == expected


@pytest.mark.parametrize(
    "tracing", [None, "x", {}, {"value": 7}, {"value": "Root=1-x"}, {"value": "Parent=Root=1-1"}, {"value": ""}]
)
def test_unknown_ids_have_no_column(tracing: object) -> None:
    """The content of a record is a claim until it is checked."""
    start = {"requestId": A, "tracing": tracing, "tenantId": 7}
    found = lines_of(batch(event(start, kind="platform.start")), rules={"LINE_FIELDS": "traceId,tenantId"})
    assert not {"traceId", "tenantId"} & found[0].keys()


def test_ids_of_a_later_record_of_the_segment_are_in_the_lines_before_it() -> None:
    """A segment can begin in the middle of an invocation, and the end has the IDs too."""
    end = event({**START, "status": "success"}, kind="platform.runtimeDone")
    header = WITH_ACCOUNT._replace(request_id=A, started=(B, A))
    found = lines_of(batch("line", end), rules=EVERY, header=header)
    assert found[0]["traceId"] == TRACE
    assert "coldStart" not in found[0]
