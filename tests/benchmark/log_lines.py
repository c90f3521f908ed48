"""Log lines as the platform delivers them: batches with lines of 200 bytes.

The lines resemble those of a service (an ID, words of a small vocabulary, numbers), because
compression is measured with them. The generator is seeded, so they are the same in every run. No
batch occurs twice in a run, because logferry deduplicates repeated batches. Formats: Telemetry API,
"Telemetry API Event schema".
"""

from __future__ import annotations

import json
import random
from typing import Any

LINE_BYTES = 200
REQUEST_ID = "7b8b3f0a-0000-4000-8000-000000000000"
"""Request ID of lines that are delivered without an invocation, or created before it."""
DELIVERY_BYTES = 256 * 1024
"""Default `maxBytes` of the platform: the record that exceeds it is the last one of a batch."""
_TIME = "2026-11-21T02:26:24.357Z"
_WORDS = (
    *("order", "cart", "payment", "user", "session", "cache", "database", "request", "response", "upstream", "retry"),
    *("timeout", "accepted", "declined", "created", "updated", "deleted", "loaded", "stored", "queued", "started"),
    *("finished", "warning", "latency", "shard", "region", "index", "token"),
)


class Lines:
    """Endless deterministic sequence of lines."""

    def __init__(self, seed: int = 20261121) -> None:
        self._random = random.Random(seed)  # noqa: S311 - log lines, not secrets

    def line(self, request_id: str) -> str:
        """Return one line of `LINE_BYTES`, with a newline, which the platform may keep."""
        pick = self._random
        text = f"[INFO]\t{_TIME}\t{request_id}\t{pick.choice(_WORDS)}={pick.randrange(10**6)} "
        while len(text) < LINE_BYTES - 1:
            text += f"{pick.choice(_WORDS)} {pick.choice(_WORDS)}={pick.randrange(10**4)} "
        return text[: LINE_BYTES - 1] + "\n"

    def records(self, count: int, request_id: str) -> list[dict[str, Any]]:
        """Return that many function lines as telemetry records."""
        return [function(self.line(request_id)) for _ in range(count)]


def function(line: str) -> dict[str, Any]:
    """Return a line of the function."""
    return {"time": _TIME, "type": "function", "record": line}


def start(request_id: str) -> dict[str, Any]:
    """Return `platform.start`."""
    return _platform("start", {"requestId": request_id, "version": "$LATEST"})


def runtime_done(request_id: str) -> dict[str, Any]:
    """Return `platform.runtimeDone`."""
    metrics = {"durationMs": 20.131, "producedBytes": 24}
    return _platform("runtimeDone", {"requestId": request_id, "status": "success", "metrics": metrics})


def report(request_id: str) -> dict[str, Any]:
    """Return `platform.report`, which arrives with the next invocation or at SHUTDOWN."""
    metrics = {"durationMs": 41.2, "billedDurationMs": 42, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    return _platform("report", {"requestId": request_id, "status": "success", "metrics": metrics})


def _platform(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"time": _TIME, "type": f"platform.{kind}", "record": record}


def delivery(records: list[dict[str, Any]]) -> bytes:
    """Return the body of one batch."""
    return json.dumps(records, separators=(",", ":")).encode()


def deliveries(records: list[dict[str, Any]]) -> list[bytes]:
    """Split records into batches as the platform does: the record that exceeds `DELIVERY_BYTES` is the last one."""
    texts = [json.dumps(record, separators=(",", ":")) for record in records]
    bodies, begun, size = [], 0, 0
    for number, text in enumerate(texts, 1):
        size += len(text) + 1
        if size >= DELIVERY_BYTES or number == len(texts):
            bodies.append(("[" + ",".join(texts[begun:number]) + "]").encode())
            begun, size = number, 0
    return bodies


def numbered(body: bytes, number: int) -> bytes:
    """Return the same batch with one additional record, so that batches with different numbers differ."""
    record = function(f"batch {number}\n")
    return b"[" + json.dumps(record, separators=(",", ":")).encode() + b"," + body[1:]
