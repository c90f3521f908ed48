"""A receiver on the web as the destination: a function, the real extension, and a receiver that fails at times."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from logferry.destination import SCHEMES
from logferry.errors import SinkRejected
from support.end_to_end import assert_exactly_once, environment, lines_of, own_messages
from support.log_receiver import Answer, Received, https_sink, log_receiver
from support.otel_collector import DEFAULT_REQUEST_BYTES, attributes, otel_collector, scopes
from support.processed import A, batch, encoded, event
from support.s3_stub import OBJECT, close
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from support.log_receiver import LogReceiver

TOKEN = "token-that-no-message-contains"  # noqa: S105 - a made-up token


def settings(receiver: LogReceiver, **more: str) -> dict[str, str]:
    """Return settings for a receiver, with all messages of logferry."""
    return {
        "LOGFERRY_DESTINATION": receiver.url,
        "LOGFERRY_HTTPS_TOKEN": TOKEN,
        "LOGFERRY_HTTPS_HEADERS": "x-team=payments",
        "LOGFERRY_LOG_LEVEL": "debug",
        **more,
    }


@pytest.mark.parametrize("policy", ["invocation", "time"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_receiver_gets_every_record_once(tmp_path: Path, policy: str, compression: str) -> None:
    """After each invocation, or all of them at SHUTDOWN; and no message contains the token."""
    certificate = make_certificate(tmp_path)
    with log_receiver(certificate=certificate, path="/in?tenant=7") as receiver:
        given = settings(
            receiver, AWS_CA_BUNDLE=certificate[0], LOGFERRY_FLUSH=policy, LOGFERRY_COMPRESSION=compression
        )
        async with environment(tmp_path, given) as service:
            for number in range(3):
                await service.invoke({"marker": f"m{number}", "lines": 2})
                await service.wait_idle()
            await service.shutdown()
        objects = receiver.arrived()
        assert {request.headers["authorization"] for request in receiver.requests} == {f"Bearer {TOKEN}"}
    assert len(receiver.requests) == len(objects)
    assert (len(objects) >= 3) == (policy == "invocation")
    assert_exactly_once(service, objects)
    assert lines_of(objects) == [f"m{n}-{i}" for n in range(3) for i in range(2)]
    messages = own_messages(service)
    assert any("uploaded" in message for message in messages)
    assert not [message for message in messages if TOKEN in message or "tenant" in message]


async def test_nothing_is_lost_while_the_receiver_fails(tmp_path: Path) -> None:
    """It is throttled, down, and loses a response; at SHUTDOWN it is still throttled for one request."""
    script = [
        Answer(429, headers=(("retry-after", "1"),)),
        Answer(closes=True),
        Answer(503, b"<html>bad gateway</html>"),
        Answer(stores=True, closes=True),
    ]

    def fails_at_first(_request: Received, number: int) -> Answer:
        return script[number - 1] if number <= len(script) else Answer()

    with log_receiver(fails_at_first) as receiver:
        async with environment(tmp_path, settings(receiver, LOGFERRY_FLUSH="invocation")) as service:
            for number in range(3):
                await service.invoke({"marker": f"m{number}"})
                await service.wait_idle()
            assert not receiver.objects, "the circuit breaker delays the attempts"
            await service.shutdown()
        objects = receiver.arrived()
    assert_exactly_once(service, objects)
    assert [message for message in own_messages(service) if "429 Too Many Requests" in message]
    repeated = Counter(request.key for request in receiver.requests)
    assert sum(repeated.values()) - len(objects) == len(script)


async def test_receiver_that_refuses_the_token_costs_one_request_and_is_named(tmp_path: Path) -> None:
    """The function is not affected, and the message names the settings."""
    refusal = json.dumps({"message": f"unknown token {TOKEN}"}).encode()
    with log_receiver(lambda _request, _number: Answer(401, refusal)) as receiver:
        async with environment(tmp_path, settings(receiver, LOGFERRY_FLUSH="invocation")) as service:
            for _ in range(3):
                assert (await service.invoke({})).status == "success"
                await service.wait_idle()
            assert len(receiver.requests) == 1
            await service.shutdown()
    messages = [message for message in own_messages(service) if "401" in message and "warning" in message]
    assert len(messages) == 1
    assert "unknown token …; the receiver does not accept the credentials: check LOGFERRY_HTTPS_TOKEN" in messages[0]


async def test_rejected_records_are_reported_in_a_later_request(tmp_path: Path) -> None:
    """The receiver rejects two records of the first request. The others are stored, and their number arrives."""
    partial = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'

    def rejects_at_first(_request: Received, number: int) -> Answer:
        return Answer(200, partial if number == 1 else b"{}", (("content-type", "application/json"),))

    with log_receiver(rejects_at_first) as receiver:
        given = settings(receiver, LOGFERRY_FORMAT="otlp", LOGFERRY_FLUSH="invocation")
        async with environment(tmp_path, given) as service:
            for number in range(2):
                await service.invoke({"marker": f"m{number}"})
                await service.wait_idle()
            await service.shutdown()
        bodies = [json.loads(request.content) for request in receiver.requests]
    logs = [logs for body in bodies for logs in scopes([body])]
    losses = [
        json.loads(record["body"]["stringValue"])
        for _, scope in logs
        for record in scope["logRecords"]
        if attributes(record)["logferry.type"] == "logferry.dropped"
    ]
    assert [(loss["records"], loss["reason"]) for loss in losses] == [
        (2, "the destination rejected some of the records")
    ]
    messages = [message for message in own_messages(service) if "the destination rejected records" in message]
    assert len(messages) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_opentelemetry_collector_gets_every_record_once(tmp_path: Path, compression: str) -> None:
    """The collector is the real one. Its exporter writes what its receiver has understood."""
    certificate = make_certificate(tmp_path)
    given = {
        "LOGFERRY_FORMAT": "otlp",
        "LOGFERRY_COMPRESSION": compression,
        "LOGFERRY_FLUSH": "invocation",
        "LOGFERRY_FIELDS": "team=payments",
        "LOGFERRY_LINE_FIELDS": "traceId,fields",
        "AWS_CA_BUNDLE": certificate[0],
    }
    with otel_collector(tmp_path, certificate) as collector:
        async with environment(tmp_path, given | {"LOGFERRY_DESTINATION": collector.url}) as service:
            requests = [await service.invoke({"marker": f"ä{n}", "lines": 2, "log": "careful"}) for n in range(3)]
            await service.wait_idle()
            await service.shutdown()
        delivered = [r for r in service.records_delivered if r["type"].partition(".")[0] in ("platform", "function")]
        collected = list(scopes(collector.wait_for(len(delivered))))
    assert not own_messages(service)
    records = [record for _, scope in collected for record in scope["logRecords"]]
    found = Counter((attributes(record)["logferry.type"], record["body"]["stringValue"]) for record in records)
    assert found == Counter((each["type"], _text(each["record"])) for each in delivered)
    _check_places(collected)
    assert len({json.dumps(resource) for resource, _ in collected}) == 1, "an environment is one resource"
    for resource, scope in collected:
        assert scope["scope"]["name"] == "logferry"
        assert resource["service.name"] == resource["faas.name"] == "orders"
        assert (resource["cloud.provider"], resource["cloud.platform"]) == ("aws", "aws_lambda")
        assert resource["cloud.region"] == "us-east-1"
        assert resource["faas.version"] == "$LATEST"
        assert resource["team"] == "payments"
    times = Counter(int(record["timeUnixNano"]) // 1_000_000 for record in records)
    assert times == Counter(_milliseconds(each["time"]) for each in delivered)
    warnings = [record for record in records if record.get("severityText") == "WARN"]
    assert len(warnings) == 3
    assert {record["severityNumber"] for record in warnings} == {13}
    ids = {attributes(record)["faas.invocation_id"] for record in warnings}
    assert ids == {request.request_id for request in requests}
    assert all(len(record["traceId"]) == 32 for record in warnings)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("closed_sinks")
async def test_refusals_of_the_collector_have_their_remedies(tmp_path: Path) -> None:
    """The responses are those of the real receiver."""
    certificate = make_certificate(tmp_path)
    trust = {"AWS_CA_BUNDLE": certificate[0]}
    many = [{"body": {"stringValue": "x" * 100}}] * 100
    large = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": many}]}]}).encode()
    cases = [
        ("/v1/logs", large, "400 .*: .*; the body is too large: lower LOGFERRY_OBJECT_BYTES"),
        ("/v1/logs", b'{"resourceLogs":7}', "400 .*; the receiver does not accept the body"),
        ("/logs", b"{}", "404 .*, whose path for OTLP is usually /v1/logs"),
    ]
    with otel_collector(tmp_path, certificate, max_request_bytes=4096) as collector:
        for path, body, remedy in cases:
            sink = https_sink(collector.url.replace("/v1/logs", path), form="otlp", environ=trust)
            with pytest.raises(SinkRejected, match=remedy):
                await sink.put(OBJECT._replace(body=body))
        await https_sink(collector.url, form="otlp", environ=trust).put(OBJECT._replace(body=b"{}"))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_largest_object_fits_into_a_request_of_the_collector(tmp_path: Path) -> None:
    """The shortest lines grow most: 2 MiB of batches, with all columns, against the limit of 20 MiB."""
    limit = SCHEMES["https"].object_bytes
    assert limit is not None
    line = {"time": "2026-11-21T02:26:24.357Z", "type": "function", "record": "x"}
    start = {"requestId": A, "tracing": {"value": f"Root=1-{'a' * 8}-{'b' * 24}"}, "tenantId": "tenant"}
    first = batch(event(start, kind="platform.start"))
    lines = batch(*[line] * ((limit - len(first)) // (len(json.dumps(line, separators=(",", ":"))) + 1)))
    rules = {"FORMAT": "otlp", "LINE_FIELDS": "traceId,tenantId,coldStart"}
    stored = encoded([first, lines], rules)
    print(f"{len(first) + len(lines)} bytes of batches, {len(stored.body)} bytes of OTLP/JSON")
    assert len(stored.body) < DEFAULT_REQUEST_BYTES
    certificate = make_certificate(tmp_path)
    with otel_collector(tmp_path, certificate) as collector:
        sink = https_sink(collector.url, form="otlp", environ={"AWS_CA_BUNDLE": certificate[0]}, seconds=60.0)
        await sink.put(stored)
        await close(sink)
        records = int(stored.metadata["records"])
        collected = list(scopes(collector.wait_for(records, seconds=60)))
    assert sum(len(scope["logRecords"]) for _, scope in collected) == records


def _text(record: object) -> str:
    return record if isinstance(record, str) else json.dumps(record, separators=(",", ":"), ensure_ascii=False)


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def _check_places(collected: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Assert that the segments of the environment are numbered from 1, and so are the lines of each."""
    segments: dict[int, list[int]] = {}
    for _, scope in collected:
        lines = segments.setdefault(int(attributes(scope["scope"])["logferry.segment"]), [])
        lines += [int(attributes(record)["logferry.line"]) for record in scope["logRecords"]]
    assert sorted(segments) == list(range(1, len(segments) + 1))
    for lines in segments.values():
        assert lines == list(range(1, len(lines) + 1))
