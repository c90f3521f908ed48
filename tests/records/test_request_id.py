"""Request IDs in lines: the places where runtimes and loggers put them, and only those of started requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.records.request_id import request_in
from logferry.records.started_requests import StartedRequests

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
FOREIGN = "5f0d7c1e-9a63-4f0b-8a77-0c9b1f4e2d10"
STARTED = StartedRequests([A, B])
TIME = "2026-11-21T02:26:24.357Z"


def stated(record: Any) -> str | None:
    """Return the request of a record, written as the platform writes it."""
    return request_in(json.dumps(record, separators=(",", ":"), ensure_ascii=False), STARTED)


STATED: dict[str, Any] = {
    "Python, logging": f"[INFO]\t{TIME}\t{A}\thello\n",
    "Python, logging with a traceback": f"[ERROR]\t{TIME}\t{A}\tTraceback\n\tRequestId: {B}",
    "Python, JSON format": {"timestamp": TIME, "level": "INFO", "message": "x", "logger": "root", "requestId": A},
    "Python, Powertools": {"level": "INFO", "location": "a:1", "message": "x", "function_request_id": A},
    "Python, structlog": {"event": "x", "aws_request_id": A},
    "Python, loguru": {"text": "x", "record": {"extra": {"aws_request_id": A}, "level": {"name": "INFO"}}},
    "Node, console": f"{TIME}\t{A}\tINFO\thello",
    "Node, JSON format": {"timestamp": TIME, "level": "INFO", "requestId": A, "message": "x"},
    "Node, pino-lambda": {"awsRequestId": A, "x-correlation-id": FOREIGN, "level": 30, "msg": "x"},
    "Node, pino-lambda as text": json.dumps({"awsRequestId": A, "level": 30, "msg": "x"}) + "\n",
    "Java, Log4j2": f"2026-11-21 02:26:24 {A} INFO  Handler:12 - hello\n",
    "Java, Log4j2 with milliseconds": f"2026-11-21T02:26:24,357 <{A}> INFO  Handler - hello\n",
    "Java, JSON format": {"timestamp": TIME, "level": "INFO", "message": "x", "AWSRequestId": A},
    "Java, pattern with a key": f"INFO  RequestId: {A} Handler - hello\n",
    "Ruby, logger": f"I, [2026-11-21T02:26:24.357000 #8]  INFO {A} -- : hello\n",
    ".NET, text format": f"{TIME}\t{A}\tinfo\thello\n",
    ".NET, Serilog": {"@t": TIME, "@m": "x", "AwsRequestId": A},
    "Go, slog": {"time": TIME, "level": "INFO", "msg": "x", "record": {"functionName": "f"}, "requestId": A},
    "Go, zap": {"level": "info", "ts": 1, "msg": "x", "lambdaRequestId": A},
    "Go, logrus": f'time="{TIME}" level=info msg=hello request_id={A}',
    "Rust, tracing": f'INFO Lambda runtime invoke{{requestId="{A}" xrayTraceId="Root=1-5"}}: hello\n',
    "Rust, tracing JSON": {"fields": {"message": "x"}, "span": {"requestId": A, "name": "invoke"}, "spans": []},
    "platform, timeout": f"2026-11-21T02:26:24.357Z {A} Task timed out after 3.00 seconds\n\n",
    "platform, exit": f"RequestId: {A} Error: Runtime exited with error: exit status 1",
    "JSON in a text": f'charged {{"requestId": "{A}", "amount": 1}}',
    "JSON in JSON": {"message": json.dumps({"requestId": A})},
    "foreign ID first": {"requestId": FOREIGN, "message": "charged", "function_request_id": A},
    "event of API Gateway": {"message": {"requestContext": {"requestId": FOREIGN}}, "function_request_id": A},
    "a request that mentions requests": {"message": "equest request: requests", "requestId": A},
}
NOT_STATED: dict[str, Any] = {
    "no ID": "hello",
    "logging in the Init phase": f"[INFO]\t{TIME}\t\tat init\n",
    "a UUID in a sentence": f"a sentence about {A}",
    "a key of another request": {"parent_request_id": A, "previousRequestId": A, "xrequestId": A},
    "printed event of API Gateway": json.dumps({"requestContext": {"requestId": FOREIGN}}),
    "AWS SDK error": {"$metadata": {"httpStatusCode": 400, "requestId": FOREIGN, "attempts": 1}},
    "business ID": {"message": "charged", "requestId": "order-4711"},
    "foreign ID between tabs": f"[INFO]\t{TIME}\t{FOREIGN}\thello\n",
    "foreign ID in a prefix": f"2026-11-21 02:26:24 {FOREIGN} INFO hello",
    "longer value": {"requestId": A + "-1"},
    "empty value": {"requestId": ""},
    "number": {"requestId": 7},
    "null": None,
    "key and value in a list": ["requestId", A],
}


@pytest.mark.parametrize("record", STATED.values(), ids=STATED.keys())
def test_line_states_its_request_at_the_place_of_its_runtime_or_logger(record: Any) -> None:
    """Every managed runtime and common logger is covered, in text and JSON."""
    assert stated(record) == A


@pytest.mark.parametrize("record", NOT_STATED.values(), ids=NOT_STATED.keys())
def test_line_states_no_request_without_a_started_id_at_a_known_place(record: Any) -> None:
    """Foreign IDs and IDs at other places are ignored."""
    assert stated(record) is None


def test_line_states_no_request_before_its_start() -> None:
    """The same line counts once the request has started."""
    value = json.dumps({"requestId": FOREIGN})
    assert request_in(value, StartedRequests()) is None
    assert request_in(value, StartedRequests([FOREIGN])) == FOREIGN
