"""The body of a request is an ExportLogsServiceRequest of the published protocol, for any records."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.semconv._incubating.attributes import cloud_attributes, faas_attributes
from opentelemetry.semconv.attributes import service_attributes

from logferry.errors import RecordsRejected
from logferry.http_client.response import Response
from logferry.records import decoder
from logferry.sinks.https.responses import Request, error_of
from records.test_fast_path import near_plain
from support.batch_strategies import ANYTHING, deliveries
from support.processed import HEADER, ORIGIN, A, batch, encoded, event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.records.model import Header

RULES = {"FORMAT": "otlp", "FIELDS": "team=x", "LINE_FIELDS": "traceId,tenantId,coldStart,level,account"}
TRACE = "5759e988bd862e3fe1be46a994272793"
START = event(
    {"requestId": A, "tracing": {"value": f"Root=1-{TRACE[:8]}-{TRACE[8:]}"}, "tenantId": "t"}, kind="platform.start"
)


def parsed(body: bytes) -> Any:
    """Return the message of a body.

    The parser is that of Protobuf, which refuses unknown members and wrong types. OTLP differs from its mapping in one
    point: IDs are hexadecimal instead of base64.
    """
    document = json.loads(body)
    for record in document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name, size in (("traceId", 16), ("spanId", 8)):
            if name in record:
                identity = bytes.fromhex(record[name])
                assert len(identity) == size
                record[name] = base64.b64encode(identity).decode()
    return json_format.ParseDict(document, ExportLogsServiceRequest(), ignore_unknown_fields=False)


def request_of(bodies: Iterable[bytes], rules: dict[str, str], header: Header = HEADER) -> Any:
    """Return the message that a receiver gets for these batches."""
    return parsed(encoded(bodies, rules, header=header).body)


def values(attributes: Iterable[Any]) -> dict[str, Any]:
    """Return attributes by name; a name that is there twice fails."""
    found = [(each.key, getattr(each.value, each.value.WhichOneof("value"))) for each in attributes]
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


def test_message_has_resource_times_severities_and_identities() -> None:
    """The names of the attributes are those of the semantic conventions."""
    header = HEADER._replace(started=(), origin=ORIGIN._replace(account="123456789012"))
    message = request_of([batch(START, "plain\n", event({"level": "WARN", "message": "x"}))], RULES, header)
    ((logs,),) = ([each] for each in message.resource_logs)
    resource = values(logs.resource.attributes)
    assert resource[service_attributes.SERVICE_NAME] == resource[faas_attributes.FAAS_NAME] == "orders"
    assert resource[faas_attributes.FAAS_VERSION] == "$LATEST"
    assert resource[faas_attributes.FAAS_INSTANCE] == "0a1b2c"
    assert resource[cloud_attributes.CLOUD_PROVIDER] == cloud_attributes.CloudProviderValues.AWS.value
    assert resource[cloud_attributes.CLOUD_PLATFORM] == cloud_attributes.CloudPlatformValues.AWS_LAMBDA.value
    assert resource[cloud_attributes.CLOUD_REGION] == "eu-west-1"
    assert resource[cloud_attributes.CLOUD_ACCOUNT_ID] == "123456789012"
    assert resource["team"] == "x"
    (scope,) = logs.scope_logs
    assert scope.scope.name == "logferry"
    assert values(scope.scope.attributes)["logferry.segment"] == 7
    start, plain, warning = scope.log_records
    assert {record.time_unix_nano for record in scope.log_records} == {1_795_227_984_357_000_000}
    assert start.severity_number == plain.severity_number == SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED
    assert (warning.severity_number, warning.severity_text) == (SeverityNumber.SEVERITY_NUMBER_WARN, "WARN")
    assert plain.body.string_value == "plain\n"
    assert json.loads(warning.body.string_value) == {"level": "WARN", "message": "x"}
    assert start.trace_id.hex() == TRACE
    attributes = values(warning.attributes)
    assert attributes[faas_attributes.FAAS_INVOCATION_ID] == A
    assert attributes["logferry.line"] == 3


@pytest.mark.parametrize("rules", [{"FORMAT": "otlp"}, RULES | {"MASK": "email,$.a"}], ids=["plain", "all"])
@settings(max_examples=80, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(near_plain() | ANYTHING | deliveries().map(lambda drawn: drawn[1]), min_size=1, max_size=3))
def test_any_batches_give_a_valid_message_with_every_record(rules: dict[str, str], bodies: list[bytes]) -> None:
    """Each record is there once, and the lines are numbered from 1."""
    message = request_of(bodies, rules)
    (scope,) = message.resource_logs[0].scope_logs
    lines = [values(record.attributes)["logferry.line"] for record in scope.log_records]
    assert lines == list(range(1, decoder.count_records(bodies) + 1))
    assert all(record.time_unix_nano for record in scope.log_records)


def test_message_without_records_is_valid() -> None:
    """All records of a segment can be filtered."""
    message = request_of([batch("x")], {"FORMAT": "otlp", "EXCLUDE": "x"})
    assert not message.resource_logs[0].scope_logs[0].log_records
    assert (
        json.loads(values(message.resource_logs[0].scope_logs[0].scope.attributes)["logferry.closing"])["filtered"] == 1
    )


def test_partial_success_is_read_as_protobuf_writes_it() -> None:
    """Protobuf's own writer of JSON makes the response."""
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 2**40
    response.partial_success.error_message = "too old"
    body = json_format.MessageToJson(response).encode()
    error = error_of(Response(200, {}, body), Request("post", is_otlp=True, size=0, secrets=()), now=0.0)
    assert isinstance(error, RecordsRejected)
    assert error.records == 2**40
