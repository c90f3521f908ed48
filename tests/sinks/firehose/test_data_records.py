"""Division of objects into data records and requests: nothing is lost, and every limit holds."""

from __future__ import annotations

import json
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.sinks.firehose import data_records
from logferry.sinks.firehose.data_records import (
    MAX_LINES,
    MAX_RECORD_BYTES,
    MAX_RECORDS,
    MAX_REQUEST_BYTES,
    divide,
    request_body,
    take_request,
)
from support.firehose_stub import STREAM, violations_of

lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" ")), max_size=60)


def requests_of(records: list[bytes]) -> list[list[bytes]]:
    """Return the records of each request."""
    waiting, found = deque[bytes | memoryview](records), []
    while waiting:
        found.append([bytes(record) for record in take_request(waiting, STREAM)])
    return found


@settings(max_examples=300, deadline=None)
@given(lines=lines, is_terminated=st.booleans(), max_lines=st.integers(1, 7), max_bytes=st.integers(45, 200))
def test_joined_records_are_the_object(
    *, lines: list[bytes], is_terminated: bool, max_lines: int, max_bytes: int
) -> None:
    """Each record consists of complete lines, has at most the allowed number of them, and cannot take another one."""
    body = b"".join(line + b"\n" for line in lines)
    body = body if is_terminated else body.removesuffix(b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_records, "MAX_RECORD_BYTES", max_bytes)
        divided = divide(body, max_lines)
    records = [bytes(record) for record in divided.records]
    assert b"".join(records) == body
    assert divided.shortened_lines == 0
    for record in records:
        assert 0 < len(record) <= max_bytes
        assert len(record.splitlines(keepends=True)) >= 1
        assert record.count(b"\n") <= max_lines
    for record, following in pairwise(records):
        assert record.endswith(b"\n")
        first = following.split(b"\n")[0] + b"\n"
        assert record.count(b"\n") == max_lines or len(record) + len(first.removesuffix(b"\n")) + 1 > max_bytes


@pytest.mark.parametrize("size", [0, 1, MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES])
def test_line_of_the_maximum_size_is_one_record(size: int) -> None:
    """The limit of a record includes the line break."""
    body = bytes(size - 1) + b"\n" if size else b""
    divided = divide(body)
    assert [bytes(record) for record in divided.records] == ([body] if size else [])
    assert divided.shortened_lines == 0


def test_line_that_exceeds_a_record_is_shortened_and_counted() -> None:
    """The lines around it are not changed, and keep their order."""
    long = b"x" * MAX_RECORD_BYTES + b"\n"
    divided = divide(b"before\n" + long + b"after\n" + long)
    before, first, after, last = map(bytes, divided.records)
    assert (before, after) == (b"before\n", b"after\n")
    assert first == last
    assert len(first) == MAX_RECORD_BYTES
    assert divided.shortened_lines == 2


def test_short_lines_share_a_record_up_to_the_limit_of_deaggregation() -> None:
    """A record is billed in steps of 5 KB, and Firehose takes at most 500 lines out of it."""
    divided = divide(b"a line\n" * 1200)
    assert [bytes(record).count(b"\n") for record in divided.records] == [MAX_LINES, MAX_LINES, 200]
    assert len(divide(b"a line\n" * 1200, 1).records) == 1200


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(1, MAX_RECORD_BYTES), max_size=20))
def test_requests_have_all_records_in_their_order(sizes: list[int]) -> None:
    """No request exceeds a limit of Firehose, and none could take the first record of the next."""
    records = [bytes(size) for size in sizes]
    requests = requests_of(records)
    assert [record for request in requests for record in request] == records
    bodies = [request_body(request, STREAM) for request in requests]
    assert all(len(body) <= MAX_REQUEST_BYTES for body in bodies)
    for request, following in pairwise(requests):
        assert len(request_body([*request, following[0]], STREAM)) > MAX_REQUEST_BYTES


def test_request_has_at_most_500_records() -> None:
    """Records of one line reach this limit first."""
    requests = requests_of([b"line\n"] * (2 * MAX_RECORDS + 1))
    assert [len(request) for request in requests] == [MAX_RECORDS, MAX_RECORDS, 1]
    for request in requests:
        assert violations_of({"DeliveryStreamName": STREAM, "Records": [{"Data": data} for data in request]}) == []


def test_body_is_the_json_text_that_a_dictionary_gives() -> None:
    """The bytes are those of `json.dumps`, which botocore uses."""
    body = request_body([b"\x00\xff", b""], STREAM)
    assert body.decode() == json.dumps(json.loads(body))
    assert json.loads(body) == {"DeliveryStreamName": STREAM, "Records": [{"Data": "AP8="}, {"Data": ""}]}


def test_the_judge_of_the_tests_finds_each_violation() -> None:
    """The stub would not notice a request that exceeds a limit otherwise."""
    data = {"Data": b"x"}
    too_many = {"DeliveryStreamName": STREAM, "Records": [data] * 501}
    assert violations_of(too_many) == ["input.Records has the length 501"]
    assert violations_of({"DeliveryStreamName": STREAM, "Records": [{"Data": bytes(MAX_RECORD_BYTES + 1)}]})
    assert violations_of({"DeliveryStreamName": STREAM, "Records": []})
    assert violations_of({"DeliveryStreamName": "a/b", "Records": [data]})
    assert violations_of({"DeliveryStreamName": "a" * 65, "Records": [data]})
    assert violations_of({"Records": [data]})
