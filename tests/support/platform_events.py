"""What the platform says: events of the Extensions API and of the Telemetry API, in its own form."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


DEADLINE_SECONDS = 10.0
"""Of an invocation, where a test does not say otherwise."""


def event(kind: str, record: Any) -> dict[str, Any]:
    """An event of the Telemetry API, now."""
    return {"time": _now(), "type": kind, "record": record}


def start(request: str) -> dict[str, Any]:
    """`platform.start`."""
    return event("platform.start", {"requestId": request, "version": "$LATEST"})


def function(line: str) -> dict[str, Any]:
    """A line of the function."""
    return event("function", line)


def runtime_done(request: str) -> dict[str, Any]:
    """`platform.runtimeDone`."""
    return event("platform.runtimeDone", {"requestId": request, "status": "success"})


def report_of(request: str) -> dict[str, Any]:
    """`platform.report`."""
    metrics = {"durationMs": 1.0, "billedDurationMs": 1, "memorySizeMB": 128, "maxMemoryUsedMB": 60}
    return event("platform.report", {"requestId": request, "status": "success", "metrics": metrics})


def batch(*events: dict[str, Any]) -> bytes:
    """The body of a delivery: compact, as the platform writes it."""
    return json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()


def invoke_event(request: str, *, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
    """INVOKE with a deadline so many seconds from now."""
    return {
        "eventType": "INVOKE",
        "deadlineMs": int((time.time() + seconds) * 1000),
        "requestId": request,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:orders",
    }


def identity(record: Mapping[str, Any]) -> str:
    """What makes a record itself: its time, type and content."""
    return json.dumps([record.get("time"), record.get("type"), record.get("record")], sort_keys=True)


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
