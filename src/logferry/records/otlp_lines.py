"""Records as OTLP/JSON logs, which the S3 receiver of the OpenTelemetry Collector reads. Pure.

Guarantees:
- An object is one JSON object of the type `LogsData`, with one resource and one scope. Both follow the log records, so
  that their attributes can count the records.
- The resource of an environment is the same in each object. The scope has the attributes of the object.
- A log record has the place of its record (`logferry.line`), so that the records of an object can be proven complete.
- Numbers of 64 bits are texts, and IDs are hexadecimal, as the JSON mapping requires.

Design: the body is a text: the text of the record, or the JSON text of any other record. A structured body would lose
digits and repeated keys. Lambda's attributes follow the semantic conventions.

References: OTLP specification, "JSON Protobuf Encoding"; opentelemetry-proto `logs/v1/logs.proto`; semantic conventions
for FaaS and AWS Lambda; collector-contrib `receiver/awss3receiver`.
"""

from __future__ import annotations

import calendar
import json
from typing import TYPE_CHECKING

from logferry.records.fields import COLD_START, LEVEL_NAMES, TENANT_ID, TRACE_ID
from logferry.records.formatted_lines import FormattedLines
from logferry.records.internal import FINAL
from logferry.records.levels import rank_of
from logferry.records.selection import LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from logferry.records import decoder, fast_path

_OPENING = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[\n'
_SEVERITIES = (1, 5, 9, 13, 17, 21)
"""Severity numbers of the levels: TRACE, DEBUG, INFO, WARN, ERROR, FATAL."""
_SECOND, _FRACTION = slice(0, len("2026-11-21T02:26:24")), slice(len("2026-11-21T02:26:24."), -1)
_NANOSECOND_DIGITS = 9


class OtlpLines(FormattedLines):
    """Log records of a segment. A comma precedes each but the first."""

    FORMAT = "otlp"
    CONTENT_TYPE = "application/json"

    def of(self, found: Iterable[decoder.Event | fast_path.RecordRun]) -> Iterator[str]:
        """Yield the beginning of the object, and the log records."""
        yield _OPENING
        yield from super().of(found)

    def closing(self, kind: str, record: str) -> str:
        """Return the end of the object, with the scope and the resource."""
        origin, fields = self._header.origin, self._fields
        resource: dict[str, object] = {
            "service.name": origin.function,
            "cloud.provider": "aws",
            "cloud.platform": "aws_lambda",
            "cloud.region": origin.region,
            **({"cloud.account.id": origin.account} if origin.account else {}),
            "faas.name": origin.function,
            "faas.version": origin.version,
            "faas.instance": origin.environment,
            **(dict(fields.static) if fields else {}),
        }
        scope = {
            "logferry.segment": self._header.number,
            "logferry.final": kind == FINAL,
            "logferry.closing": record,
        }
        return (
            f'\n],"scope":{{"name":"logferry","attributes":{_attributes(scope)}}}}}],'
            f'"resource":{{"attributes":{_attributes(resource)}}}}}]}}\n'
        )

    def _line(self, event: decoder.Event) -> str:
        body = self._masked_content(event)
        attributes: dict[str, object] = {"logferry.type": self._masked_type(event.type), "logferry.line": self.records}
        request = self._request
        columns: dict[str, str] = {}
        if request:
            attributes |= {"faas.invocation_id": request[0], "logferry.request_id_source": request[1]}
        if self._fields:
            columns = self._fields.of_request(request[0] if request else None, self._facts, self._header.origin)
        if COLD_START in columns:
            attributes["faas.coldstart"] = True
        if TENANT_ID in columns:
            attributes["aws.lambda.tenant_id"] = columns[TENANT_ID]
        severity = self._severity(event)
        trace = f',"traceId":"{columns[TRACE_ID][2:].replace("-", "")}"' if TRACE_ID in columns else ""
        comma = ",\n" if self.records > 1 else ""
        return (
            f'{comma}{{"timeUnixNano":"{_nanoseconds(self._time_or_latest)}"{severity}{trace},'
            f'"body":{{"stringValue":{_text(body)}}},"attributes":{_attributes(attributes)}}}'
        )

    def _severity(self, event: decoder.Event) -> str:
        rank = rank_of(event.fields.get("record")) if event.type in LINES else None
        if rank is None:
            return ""
        return f',"severityNumber":{_SEVERITIES[rank]},"severityText":"{LEVEL_NAMES[rank].upper()}"'

    def _masked_type(self, kind: str) -> str:
        column = self._columns.get(kind) or self._make_column(kind)
        return str(json.loads("{" + column.removesuffix(",") + "}").get("type", ""))


def _attributes(attributes: Mapping[str, object]) -> str:
    """Return attributes as JSON. An integer is a text in the mapping of Protobuf, because it has 64 bits."""
    return "[" + ",".join(f'{{"key":{_text(name)},"value":{_value(each)}}}' for name, each in attributes.items()) + "]"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return f'{{"boolValue":{json.dumps(value)}}}'
    return f'{{"intValue":"{value}"}}' if isinstance(value, int) else f'{{"stringValue":{_text(str(value))}}}'


def _text(text: str) -> str:
    """Return a JSON string. Half of a surrogate pair is no valid text for Protobuf and is replaced."""
    return json.dumps(text.encode(errors="replace").decode(), ensure_ascii=False)


def _nanoseconds(time: str) -> int:
    """Return a canonical time in nanoseconds since the epoch."""
    parts = time[_SECOND].replace("T", "-").replace(":", "-").split("-")
    seconds = calendar.timegm((*map(int, parts), 0, 0, 0))
    return int(f"{seconds}{time[_FRACTION].ljust(_NANOSECOND_DIGITS, '0')}")
