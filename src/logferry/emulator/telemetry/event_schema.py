"""Conversion of one platform event to the schema of a subscriber. Pure.

Guarantees:
- A line that is a JSON object becomes an object from schema 2022-12-13 on, if the function logs in JSON.
- String records keep their newline in the oldest schemas (captured in aws-samples/aws-lambda-extensions).
  Newer schemas omit it, as aws-lambda-runtime-interface-emulator does.
- The Logs API has `platform.end`, `platform.fault` and `platform.logsSubscription`, and no spans.
  Its `platform.runtimeDone` exists from schema 2021-03-18 on, with request and status only.

References: "Lambda Logs API"; "Lambda Telemetry API Event schema reference".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.subscription import LOGS_API, LOGS_SCHEMAS

if TYPE_CHECKING:
    from logferry.emulator.telemetry.platform_events import Event
    from logferry.emulator.telemetry.subscription import Subscription

_LINES = (platform_events.FUNCTION_LINE, platform_events.EXTENSION_LINE)
_WITH_NEWLINE = frozenset({"2022-07-01", *LOGS_SCHEMAS})
_SUBSCRIPTIONS = (platform_events.TELEMETRY_SUBSCRIPTION, platform_events.LOGS_SUBSCRIPTION)


def render(event: Event, subscription: Subscription, *, log_format: str) -> dict[str, Any] | None:
    """Return the record for a subscriber, or None if it does not receive this event."""
    if event.category not in subscription.types:
        return None
    if event.type in _LINES:
        return _envelope(event, event.type, _line(event.record, subscription.schema, log_format=log_format))
    if subscription.api == LOGS_API:
        return _render_for_logs_api(event, subscription.schema)
    if event.type in platform_events.LOGS_API_ONLY:
        return None
    return _envelope(event, event.type, event.record)


def _envelope(event: Event, type_: str, record: Any) -> dict[str, Any]:
    return {"time": platform_events.iso_time(event.time), "type": type_, "record": record}


def _line(line: str, schema: str, *, log_format: str) -> Any:
    if schema in _WITH_NEWLINE:
        return line
    line = line.removesuffix("\n")
    if log_format == "JSON" and line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError:
            return line
    return line


def _render_for_logs_api(event: Event, schema: str) -> dict[str, Any] | None:
    record = event.record
    if event.type in _SUBSCRIPTIONS:
        return _envelope(event, platform_events.LOGS_SUBSCRIPTION, record)
    if event.type == platform_events.RUNTIME_DONE:
        if schema == LOGS_SCHEMAS[0]:
            return None
        return _envelope(event, event.type, {"requestId": record["requestId"], "status": record["status"]})
    if isinstance(record, dict):
        record = {key: value for key, value in record.items() if key not in ("spans", "tracing")}
    return _envelope(event, event.type, record)
