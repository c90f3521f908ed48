"""Objects of many functions as the extension stores them, with planted faults, for the tests of the report.

The encoder of the extension makes each object, so that keys, lines and metadata are real. The records are generated
from a seed.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logferry.records.encoder import encode
from logferry.records.model import Header, Origin, iso
from logferry.records.object_key import DEFAULT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_MS = 1_795_917_600_000
"""Beginning of the generated records: 2026-11-29T02:00:00Z."""
TYPES = frozenset({"platform", "function"})
ERRORS = (
    ("error", "Runtime.ExitError"),
    ("error", "Function.PaymentDeclined"),
    ("failure", "Runtime.OutOfMemory"),
    ("timeout", None),
)
LINES = (
    "cache miss, read from the table",
    "stored order in 12 ms",
    "retry 1 of 3 after 40 ms",
    "sent notification to the queue",
)


@dataclass(frozen=True)
class Fleet:
    """A function and the shape of its traffic."""

    name: str
    environments: int = 1
    invocations: int = 10
    """Number per environment."""
    gap_ms: int = 60_000
    """Time between two invocations of an environment."""
    duration_ms: float = 40.0
    spread_ms: int = 0
    """Time over which the environments start."""
    failed: float = 0.0
    """Share of failed invocations."""
    per_object: int = 4
    """Invocations per object."""
    initialization: str = "on-demand"
    states_init: bool = True
    """Whether the first report of an environment has the duration of its Init phase."""
    concurrent: bool = False
    """Whether invocations overlap, as on Managed Instances."""
    memory_mb: int = 512
    message: str = ""
    """Additional line of each invocation."""
    error: tuple[str, str | None] | None = None
    """Status and error type of failed invocations, or any."""
    missing: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Segments that are removed, by the number of the environment."""
    types: frozenset[str] = TYPES
    """LOGFERRY_TYPES."""
    open: frozenset[int] = frozenset()
    """Environments without a final object."""


def store(root: Path, fleets: list[Fleet], *, seed: int = 7) -> int:
    """Store the objects of the functions below `root` and return their number."""
    chance, stored = random.Random(seed), 0  # noqa: S311 - reproducible records
    for fleet in fleets:
        for number in range(fleet.environments):
            for segment, made in enumerate(_environment(fleet, number, chance), 1):
                if segment not in fleet.missing.get(number, ()):
                    _write(root, *made)
                    stored += 1
    return stored


def _environment(fleet: Fleet, number: int, chance: random.Random) -> Iterator[tuple[Any, float]]:
    """Yield each object of an environment with the time at which it is stored, in epoch milliseconds."""
    origin = Origin(f"{chance.getrandbits(64):016x}", fleet.name, "$LATEST", "eu-central-1", concurrent=False)
    now = START_MS + chance.uniform(0, fleet.spread_ms or 1)
    init_ms = chance.uniform(120, 420)
    events = _init(fleet, now, init_ms)
    now += init_ms
    started: tuple[str, ...] = ()
    segment = 1
    for invocation in range(fleet.invocations):
        request_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        made, ended = _invocation(
            fleet, request_id, now, init_ms if invocation == 0 and fleet.states_init else None, chance
        )
        *before, report = made
        events += before
        if (invocation + 1) % fleet.per_object == 0:
            stored_at = ended + 30
            yield _encoded(fleet, origin, segment, events, started, final=False), stored_at
            segment, events, started = segment + 1, [], (*started, request_id)[-4:]
        events.append(report)
        now = (now if fleet.concurrent else ended) + fleet.gap_ms * chance.uniform(0.6, 1.4)
    last = number not in fleet.open
    idle = now + 60_000 if last else now
    yield _encoded(fleet, origin, segment, events, started, final=last), idle


def _init(fleet: Fleet, at: float, init_ms: float) -> list[dict[str, Any]]:
    common = {"initializationType": fleet.initialization, "phase": "init"}
    return [
        _event(at, "platform.initStart", common | {"functionVersion": "$LATEST"}),
        _event(at + init_ms * 0.9, "platform.initRuntimeDone", common | {"status": "success"}),
        _event(at + init_ms, "platform.initReport", common | {"metrics": {"durationMs": round(init_ms, 3)}}),
    ]


def _invocation(
    fleet: Fleet, request_id: str, at: float, init_ms: float | None, chance: random.Random
) -> tuple[list[dict[str, Any]], float]:
    """Return the events of an invocation, the last of which is its report, and the time of its end."""
    duration = fleet.duration_ms * chance.lognormvariate(0, 0.5)
    status, error = "success", None
    if chance.random() < fleet.failed:
        status, error = fleet.error or chance.choice(ERRORS)
        duration = 3000.0 if status == "timeout" else duration
    total = duration + 28
    outcome = {"requestId": request_id, "status": status} | ({"errorType": error} if error else {})
    metrics = {
        "durationMs": round(total, 3),
        "billedDurationMs": int(total + (init_ms or 0)) + 1,
        "memorySizeMB": fleet.memory_mb,
        "maxMemoryUsedMB": chance.randrange(60, fleet.memory_mb - 8),
    } | ({"initDurationMs": round(init_ms, 3)} if init_ms else {})
    texts = [fleet.message] if fleet.message else []
    texts += [chance.choice(LINES) for _ in range(chance.randrange(2, 7))]
    return [
        _event(at, "platform.start", {"requestId": request_id, "version": "$LATEST"}),
        *(_event(at + duration * place / 8, "function", text) for place, text in enumerate(texts[:7], 1)),
        _event(
            at + duration, "platform.runtimeDone", outcome | {"metrics": {"durationMs": round(duration, 3)}}
        ),
        _event(at + total, "platform.report", outcome | {"metrics": metrics}),
    ], at + total  # fmt: skip


def _event(at: float, kind: str, record: Any) -> dict[str, Any]:
    return {"time": iso(int(at)), "type": kind, "record": record}


def _encoded(
    fleet: Fleet,
    origin: Origin,
    segment: int,
    events: list[dict[str, Any]],
    started: tuple[str, ...],
    *,
    final: bool,
) -> Any:
    opened = START_MS if not events else 0
    header = Header(origin, segment, opened or _epoch_ms(events[0]["time"]), None, started)
    body = json.dumps(events, separators=(",", ":"), ensure_ascii=False).encode()
    return encode(header, [body], final=final, key=DEFAULT_KEY, compress=True, types=fleet.types)


def _epoch_ms(time: str) -> int:
    from datetime import datetime  # noqa: PLC0415 - only here

    return round(datetime.fromisoformat(time).timestamp() * 1000)


def _write(root: Path, made: Any, stored_at: float) -> None:
    path = root / made.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.body)
    path.with_name(path.name + ".meta.json").write_text(json.dumps(made.metadata))
    os.utime(path, (stored_at / 1000, stored_at / 1000))
