"""Text, OTLP/JSON and Zstandard: what other programs read, and `logferry verify` on each of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.cli.stored_objects import ReadObject, decode
from logferry.cli.verify.checked_object import Loss
from logferry.cli.verify.completeness import judge
from logferry.cli.verify.object_check import check_object
from logferry.records import decoder, zstd_packing
from logferry.records.encoder import encode
from logferry.records.internal import dropped_batch
from logferry.records.object_key import default_key
from logferry.records.processing import Processing
from records.test_fast_path import near_plain
from support.batch_strategies import ANYTHING, deliveries
from support.processed import ALL, HEADER, ORIGIN, TIME, A, batch, encoded, event, options

if TYPE_CHECKING:
    from logferry.options.records import RecordOptions
    from logferry.records.model import StoredObject

START = event({"requestId": A, "version": "7"}, kind="platform.start")
DONE = event({"requestId": A, "status": "success"}, kind="platform.runtimeDone")
METRICS = {"durationMs": 41.2, "billedDurationMs": 42, "memorySizeMB": 128, "maxMemoryUsedMB": 64, "initDurationMs": 9}
REPORT = event({"requestId": A, "status": "timeout", "metrics": METRICS}, kind="platform.report")
LOSS: dict[str, object] = {"environment": "e0", "segment": 1, "until": 2, "records": 3, "bytes": 4, "reason": "x"}
BODIES = [
    batch(START, "hello\n", "two\nlines", event({"level": "WARN", "to": "a@b.io"}), DONE, REPORT),
    dropped_batch([LOSS], at_ms=1_795_227_984_357),
]


def read_back(stored: StoredObject, suffix: str) -> ReadObject:
    """Return an object as the reader of a destination returns it."""
    found = decode(f"key{suffix}", stored.metadata, stored.body)
    assert isinstance(found, ReadObject)
    return found


def test_text_is_that_of_an_export_of_cloudwatch() -> None:
    """The lines of the platform are those that Lambda writes to CloudWatch."""
    stored = encoded(BODIES, {"FORMAT": "text", "MASK": "email"})
    text = stored.body.decode()
    assert text.startswith(
        f"{TIME} START RequestId: {A} Version: 7\n"
        f"{TIME} hello\n"
        f"{TIME} two\nlines\n"
        f'{TIME} {{"level":"WARN","to":"[email]"}}\n'
        f"{TIME} END RequestId: {A}\n"
        f"{TIME} REPORT RequestId: {A}\tDuration: 41.20 ms\tBilled Duration: 42 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 64 MB\tInit Duration: 9.00 ms\tStatus: timeout\t\n"
        f"{TIME} logferry.dropped {{"
    )
    kind, record = text.splitlines()[-1].split(" ", 2)[1:]
    assert (kind, json.loads(record)["records"]) == ("logferry.segment", 7)
    assert (stored.content_type, stored.metadata["format"]) == ("text/plain; charset=utf-8", "text")


def attributes(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OTLP attributes by name."""
    assert len({each["key"] for each in found}) == len(found)
    return {each["key"]: each["value"] for each in found}


def test_otlp_has_the_members_of_the_json_mapping() -> None:
    """Times and integers are texts, and the resource describes the function."""
    tracing = {"value": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    bodies = [batch(event({"requestId": A, "tracing": tracing, "tenantId": "t"}, kind="platform.start")), *BODIES]
    rules = {"FORMAT": "otlp", "FIELDS": "team=x", "LINE_FIELDS": "traceId,tenantId,coldStart"}
    stored = encoded(bodies, rules, header=HEADER._replace(started=(), origin=ORIGIN._replace(account="123456789012")))
    ((logs),) = json.loads(stored.body)["resourceLogs"]
    resource = attributes(logs["resource"]["attributes"])
    assert resource["service.name"] == resource["faas.name"] == {"stringValue": "orders"}
    assert resource["cloud.account.id"] == {"stringValue": "123456789012"}
    assert resource["team"] == {"stringValue": "x"}
    assert not [name for name in resource if name.startswith("logferry.")], "the resource is that of each object"
    (scope,) = logs["scopeLogs"]
    place = attributes(scope["scope"].pop("attributes"))
    assert place["logferry.segment"] == {"intValue": "7"}
    assert place["logferry.final"] == {"boolValue": False}
    assert json.loads(place["logferry.closing"]["stringValue"])["records"] == 8
    records = scope["logRecords"]
    assert scope["scope"] == {"name": "logferry"}
    assert [attributes(each["attributes"])["logferry.line"] for each in records] == [
        {"intValue": str(n)} for n in range(1, 9)
    ]
    line = records[4]
    assert line["timeUnixNano"] == "1795227984357000000"
    assert (line["severityNumber"], line["severityText"]) == (13, "WARN")
    assert line["traceId"] == "5759e988bd862e3fe1be46a994272793"
    assert json.loads(line["body"]["stringValue"]) == {"level": "WARN", "to": "a@b.io"}
    assert attributes(line["attributes"])["faas.invocation_id"] == {"stringValue": A}
    assert attributes(line["attributes"])["faas.coldstart"] == {"boolValue": True}
    assert attributes(line["attributes"])["aws.lambda.tenant_id"] == {"stringValue": "t"}
    assert records[2]["body"] == {"stringValue": "hello\n"}
    assert (stored.content_type, stored.metadata["format"]) == ("application/json", "otlp")


@pytest.mark.parametrize(
    "rules", [{"FORMAT": "text"}, {"FORMAT": "otlp"}, {"FORMAT": "otlp", "MASK": "email,$.a"}], ids=str
)
@settings(max_examples=80, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(near_plain() | ANYTHING | deliveries().map(lambda drawn: drawn[1]), min_size=1, max_size=3))
def test_object_of_each_format_is_valid_and_proven_complete(rules: dict[str, str], bodies: list[bytes]) -> None:
    """Any batch gives valid UTF-8 with a closing line, and the same bytes with and without the fast path."""
    chosen = options(rules)
    stored, parsed = (encoded(bodies, chosen, min_batch_bytes=least, final=True) for least in (0, sys.maxsize))
    assert stored == parsed
    assert stored.metadata["records"] == str(decoder.count_records(bodies))
    if rules["FORMAT"] == "otlp":
        json.loads(stored.body)
    for metadata in (stored.metadata, {}):
        checked = check_object(replace(read_back(stored, ".log"), metadata=metadata))
        assert not checked.unreadable
        assert checked.place is not None
        assert (checked.place.environment, checked.place.segment, checked.place.final) == ("0a1b2c", 7, True)
        assert sum(map(len, checked.lines)) == decoder.count_records(bodies)


@pytest.mark.parametrize("form", ["text", "otlp"])
def test_cut_object_of_each_format_is_unreadable(form: str) -> None:
    """The closing line, or the end of the JSON object, is missing."""
    stored = encoded(BODIES[:1], {"FORMAT": form}, header=HEADER._replace(number=1))
    lines = stored.body.splitlines(keepends=True)
    cut = stored._replace(body=b"".join(lines[:-1]))
    assert check_object(read_back(cut, ".log")).unreadable
    assert judge([check_object(read_back(stored, ".log"))]).status == 0


def test_losses_are_read_from_otlp_and_not_from_text() -> None:
    """Any line can be in a text, so a report of a loss in it proves nothing."""
    assert check_object(read_back(encoded(BODIES, {"FORMAT": "otlp"}), ".json")).losses == (
        Loss("e0", range(1, 3), 3, 4, "x"),
    )
    assert not check_object(read_back(encoded(BODIES, {"FORMAT": "text"}), ".log")).losses


@pytest.mark.parametrize("form", ["ndjson", "text"])
def test_zstd_is_read_back_and_damage_is_found(form: str) -> None:
    """The compressor is that of the standard library of Python 3.14."""
    chosen: RecordOptions = options({"FORMAT": form})
    processing = chosen.processing or Processing()
    stored = encode(
        HEADER,
        BODIES,
        final=True,
        key=default_key(form=form, compression="zstd"),
        compress=False,
        types=ALL,
        packing=zstd_packing.packing(),
        make_lines=processing.make_lines,
    )
    assert stored.key.endswith(".zst")
    assert stored.content_type == "application/zstd"
    checked = check_object(read_back(stored, ".zst"))
    assert not checked.unreadable
    assert [*checked.lines] == [range(1, 8)]
    damaged = stored._replace(body=stored.body[: len(stored.body) // 2])
    assert "zstd" in check_object(read_back(damaged, ".zst")).unreadable
    assert "zstd" in check_object(read_back(stored._replace(body=b"x" * 40), ".zst")).unreadable
