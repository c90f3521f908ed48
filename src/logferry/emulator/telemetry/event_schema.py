"""How one event is told to subscribers of different schemas.

Pure. The platform makes one event; what a subscriber reads depends on what it asked for:

* a line that is a JSON object becomes an object from schema 2022-12-13 on, if the function logs in JSON;
* string records keep their newline in the oldest schemas (captured in aws-samples/aws-lambda-extensions), and are
  sent without it in newer ones, as aws-lambda-runtime-interface-emulator does;
* the Logs API knows `platform.end`, `platform.fault` and `platform.logsSubscription`, has no spans, and tells of
  `platform.runtimeDone` from schema 2021-03-18 on, by request and status alone ("Lambda Logs API").
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


def telling(event: Event, subscription: Subscription, *, log_format: str) -> dict[str, Any] | None:
    """The delivered form of `event`, or None when this subscriber is not told of it."""
    if event.category not in subscription.types:
        return None
    if event.type in _LINES:
        return _told(event, event.type, _line(event.record, subscription.schema, log_format=log_format))
    if subscription.api == LOGS_API:
        return _told_by_logs_api(event, subscription.schema)
    if event.type in platform_events.LOGS_API_ONLY:
        return None
    return _told(event, event.type, event.record)


def _told(event: Event, type_: str, record: Any) -> dict[str, Any]:
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


def _told_by_logs_api(event: Event, schema: str) -> dict[str, Any] | None:
    record = event.record
    if event.type in _SUBSCRIPTIONS:
        return _told(event, platform_events.LOGS_SUBSCRIPTION, record)
    if event.type == platform_events.RUNTIME_DONE:
        if schema == LOGS_SCHEMAS[0]:
            return None
        return _told(event, event.type, {"requestId": record["requestId"], "status": record["status"]})
    if isinstance(record, dict):
        record = {key: value for key, value in record.items() if key not in ("spans", "tracing")}
    return _told(event, event.type, record)
