"""What a function logs, as the platform delivers it: bodies of telemetry with lines of 200 bytes.

Lines look like a service's (an id, words from a small vocabulary, numbers), because compression is measured on them.
They are the same in every run, for the generator is seeded, and never the same twice in one: a delivery that is
repeated is a redelivery, and logferry stores it once. Formats: Telemetry API, "Telemetry API Event schema".
"""

from __future__ import annotations

import json
import random
from typing import Any

LINE_BYTES = 200
REQUEST_ID = "7b8b3f0a-0000-4000-8000-000000000000"
"""Of lines that are posted without an invocation, or made before it."""
DELIVERY_BYTES = 256 * 1024
"""The platform's default `maxBytes`: a delivery is closed by the record that passes it."""
_TIME = "2026-11-21T02:26:24.357Z"
_WORDS = (
    *("order", "cart", "payment", "user", "session", "cache", "database", "request", "response", "upstream", "retry"),
    *("timeout", "accepted", "declined", "created", "updated", "deleted", "loaded", "stored", "queued", "started"),
    *("finished", "warning", "latency", "shard", "region", "index", "token"),
)


class Lines:
    """An endless stream of lines, always the same one."""

    def __init__(self, seed: int = 20261121) -> None:
        self._random = random.Random(seed)  # noqa: S311 - log lines, not secrets

    def line(self, request_id: str) -> str:
        """One line of `LINE_BYTES`, with the newline that the platform may leave on it."""
        pick = self._random
        text = f"[INFO]\t{_TIME}\t{request_id}\t{pick.choice(_WORDS)}={pick.randrange(10**6)} "
        while len(text) < LINE_BYTES - 1:
            text += f"{pick.choice(_WORDS)} {pick.choice(_WORDS)}={pick.randrange(10**4)} "
        return text[: LINE_BYTES - 1] + "\n"

    def records(self, count: int, request_id: str) -> list[dict[str, Any]]:
        """So many function lines as telemetry records."""
        return [{"time": _TIME, "type": "function", "record": self.line(request_id)} for _ in range(count)]


def start(request_id: str) -> dict[str, Any]:
    """`platform.start`."""
    return _platform("start", {"requestId": request_id, "version": "$LATEST"})


def runtime_done(request_id: str) -> dict[str, Any]:
    """`platform.runtimeDone`."""
    metrics = {"durationMs": 20.131, "producedBytes": 24}
    return _platform("runtimeDone", {"requestId": request_id, "status": "success", "metrics": metrics})


def report(request_id: str) -> dict[str, Any]:
    """`platform.report`, which comes with the next invocation, or at SHUTDOWN."""
    metrics = {"durationMs": 41.2, "billedDurationMs": 42, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    return _platform("report", {"requestId": request_id, "status": "success", "metrics": metrics})


def _platform(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"time": _TIME, "type": f"platform.{kind}", "record": record}


def delivery(records: list[dict[str, Any]]) -> bytes:
    """The body of one delivery."""
    return json.dumps(records, separators=(",", ":")).encode()


def deliveries(records: list[dict[str, Any]]) -> list[bytes]:
    """Records cut into bodies as the platform cuts them: closed by the record that passes `DELIVERY_BYTES`."""
    texts = [json.dumps(record, separators=(",", ":")) for record in records]
    bodies, begun, size = [], 0, 0
    for number, text in enumerate(texts, 1):
        size += len(text) + 1
        if size >= DELIVERY_BYTES or number == len(texts):
            bodies.append(("[" + ",".join(texts[begun:number]) + "]").encode())
            begun, size = number, 0
    return bodies


def numbered(body: bytes, number: int) -> bytes:
    """The same delivery with one more record, so that no two with different numbers are alike."""
    record = {"time": _TIME, "type": "function", "record": f"delivery {number}\n"}
    return b"[" + json.dumps(record, separators=(",", ":")).encode() + b"," + body[1:]
