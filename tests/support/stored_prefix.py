"""A prefix with many objects of the real encoder, and faults that are planted into it.

The lines are text, JSON, stack traces and reports of the platform. The environments start at different minutes, so
that the objects lie in the partitions of several functions and hours.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logferry.records.encoder import encode
from logferry.records.internal import dropped_batch
from logferry.records.model import Header, Origin, iso
from logferry.records.object_key import DEFAULT_KEY

if TYPE_CHECKING:
    from pathlib import Path

START_MS = 1_795_932_000_000
"""2026-11-29T06:00:00Z."""
HOUR_MS = 3_600_000
SEGMENTS = 20
"""Number of segments of an environment."""
FUNCTIONS = ("orders-api", "orders-web", "billing")
TYPES = frozenset({"platform", "function"})


@dataclass
class Prefix:
    """The objects of a prefix: their path and their metadata, by environment and segment."""

    root: Path
    paths: dict[tuple[str, int], Path] = field(default_factory=dict)

    def remove(self, environment: str, segment: int) -> None:
        """Remove an object with its metadata."""
        path = self.paths[environment, segment]
        path.unlink()
        _metadata(path).unlink(missing_ok=True)

    def rewrite(self, environment: str, segment: int, lines: list[bytes]) -> None:
        """Replace the lines of an object. Its metadata stay."""
        self.paths[environment, segment].write_bytes(gzip.compress(b"\n".join([*lines, b""])))

    def lines(self, environment: str, segment: int) -> list[bytes]:
        """Return the lines of an object."""
        return gzip.decompress(self.paths[environment, segment].read_bytes()).splitlines()


def write(root: Path, objects: int, *, seed: int = 1, lines: int = 16, metadata: bool = True, hours: int = 3) -> Prefix:
    """Write about this many objects of environments with `SEGMENTS` segments each; the last one is final."""
    chance = random.Random(seed)  # noqa: S311 - no cryptography
    prefix = Prefix(root)
    for number in range(max(1, objects // SEGMENTS)):
        name = f"{number:08x}{chance.getrandbits(32):08x}"
        origin = Origin(name, FUNCTIONS[number % 3], "7", "eu-central-1", concurrent=False)
        started = START_MS + chance.randrange(hours * HOUR_MS - SEGMENTS * 60_000)
        for segment in range(1, SEGMENTS + 1):
            at_ms = started + segment * 60_000
            body = b"[" + b",".join(_events(chance, at_ms, lines)) + b"]"
            store(prefix, origin, segment, [body], final=segment == SEGMENTS, metadata=metadata)
    return prefix


def store(
    prefix: Prefix, origin: Origin, segment: int, bodies: list[bytes], *, final: bool = False, metadata: bool = True
) -> Path:
    """Store the object of a segment."""
    header = Header(origin, segment, START_MS, None)
    made = encode(header, bodies, final=final, key=DEFAULT_KEY, compress=True, types=TYPES)
    path = prefix.root / made.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.body)
    if metadata:
        _metadata(path).write_text(json.dumps(made.metadata))
    prefix.paths[origin.environment, segment] = path
    return path


def plant(prefix: Prefix) -> list[tuple[str | None, int | None, int | None, str, int | None]]:
    """Plant faults of all kinds and return the rows of `faults.sql` that find them.

    Each is in another environment: 3 objects and one pair removed, 3 lines doubled, one object copied under another
    key, 2 lines removed, 3 objects cut at the end of a line. A removed pair that a `logferry.dropped` record reports is
    no fault.
    """
    names = iter(sorted({name for name, _ in prefix.paths}))
    expected: list[tuple[str | None, int | None, int | None, str, int | None]] = []
    for segment in (4, 9, 13):
        name = next(names)
        prefix.remove(name, segment)
        expected.append((name, segment, segment, "segments missing", 1))
    name = next(names)
    prefix.remove(name, 6)
    prefix.remove(name, 7)
    expected.append((name, 6, 7, "segments missing", 2))
    name = next(names)
    lines = prefix.lines(name, 3)
    prefix.rewrite(name, 3, [*lines[:3], *lines[:3], *lines[3:]])
    expected.append((name, 3, 3, "lines duplicated", 3))
    name = next(names)
    path = prefix.paths[name, 8]
    path.with_name(path.name.replace("Z-", "Z-copy-")).write_bytes(path.read_bytes())
    expected.append((name, 8, 8, "lines duplicated", len(prefix.lines(name, 8))))
    name = next(names)
    lines = prefix.lines(name, 11)
    prefix.rewrite(name, 11, [lines[0], *lines[2:5], *lines[6:]])
    expected.append((name, 11, 11, "lines missing", 2))
    for segment in (2, 5, 19):
        name = next(names)
        prefix.rewrite(name, segment, prefix.lines(name, segment)[:-2])
        expected.append((name, segment, segment, "no closing line", None))
    name = next(names)
    origin = Origin(name, FUNCTIONS[0], "7", "eu-central-1", concurrent=False)
    report: dict[str, object] = {
        "environment": name,
        "segment": 14,
        "until": 15,
        "records": 32,
        "bytes": 900,
        "reason": "x",
    }
    prefix.remove(name, 14)
    prefix.remove(name, 15)
    prefix.remove(name, 16)
    event = _events(random.Random(1), START_MS, 1)[0]  # noqa: S311 - no cryptography
    store(prefix, origin, 16, [dropped_batch([report], at_ms=START_MS), b"[" + event + b"]"])
    return sorted(expected, key=lambda row: (row[0] or "", row[1] or 0, row[3]))


def cut_gzip(prefix: Prefix, environment: str, segment: int) -> Path:
    """Cut an object inside its gzip stream and return its path."""
    path = prefix.paths[environment, segment]
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _events(chance: random.Random, at_ms: int, count: int) -> list[bytes]:
    """Return events as the platform delivers them: a start, lines of the function, and a report."""
    request = f"{chance.getrandbits(32):08x}-0000-4000-8000-{chance.getrandbits(48):012x}"
    duration = round(chance.lognormvariate(4, 0.6), 2)
    metrics = {
        "durationMs": duration,
        "billedDurationMs": int(duration) + 1,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": 96,
    }
    events: list[tuple[str, Any]] = [("platform.start", {"requestId": request, "version": "$LATEST"})]
    for number in range(max(0, count - 2)):
        kind = number % 4
        if kind == 0:
            events.append(
                ("function", {"level": "INFO", "message": f"order {chance.randrange(9999)}", "requestId": request})
            )
        elif kind == 1:
            events.append(
                (
                    "function",
                    f"[ERROR] payment timeout id={chance.randrange(99999)}\n  at handler (/var/task/app.js:1:2)",
                )
            )
        else:
            events.append(
                ("function", f"cache miss lookup table id={chance.randrange(99999)} took={chance.randrange(500)}ms")
            )
    events.append(("platform.report", {"requestId": request, "status": "success", "metrics": metrics}))
    return [
        json.dumps({"time": iso(at_ms + 17 * number), "type": kind, "record": record}, separators=(",", ":")).encode()
        for number, (kind, record) in enumerate(events[-count:])
    ]


def _metadata(path: Path) -> Path:
    return path.with_name(path.name + ".meta.json")
