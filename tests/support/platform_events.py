"""Events of the Extensions API and records of the Telemetry API, in the platform's own format."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


DEADLINE_SECONDS = 10.0
"""Deadline of an invocation unless a test chooses another one, in seconds."""


def event(kind: str, record: Any) -> dict[str, Any]:
    """Return a record of the Telemetry API with the current time."""
    return {"time": _now(), "type": kind, "record": record}


def start(request: str) -> dict[str, Any]:
    """Return `platform.start`."""
    return event("platform.start", {"requestId": request, "version": "$LATEST"})


def function(line: str) -> dict[str, Any]:
    """Return a line of the function."""
    return event("function", line)


def runtime_done(request: str) -> dict[str, Any]:
    """Return `platform.runtimeDone`."""
    return event("platform.runtimeDone", {"requestId": request, "status": "success"})


def report_of(request: str) -> dict[str, Any]:
    """Return `platform.report`."""
    metrics = {"durationMs": 1.0, "billedDurationMs": 1, "memorySizeMB": 128, "maxMemoryUsedMB": 60}
    return event("platform.report", {"requestId": request, "status": "success", "metrics": metrics})


def batch(*events: dict[str, Any]) -> bytes:
    """Return the body of a Telemetry API request, compact as the platform writes it."""
    return json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()


def invoke_event(request: str, *, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
    """Return INVOKE with a deadline in the given number of seconds."""
    return {
        "eventType": "INVOKE",
        "deadlineMs": int((time.time() + seconds) * 1000),
        "requestId": request,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:orders",
    }


def identity(record: Mapping[str, Any]) -> str:
    """Return the identity of a record: its time, type and content."""
    return json.dumps([record.get("time"), record.get("type"), record.get("record")], sort_keys=True)


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
