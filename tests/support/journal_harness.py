"""What the journal's tests share: a journal wired as the extension wires it, numbered bodies, and a second reader.

`frames_of` reads a segment file by the format that `frame` and `segment` describe, in code of its own, so that a test
that damages a file knows what stands where without asking the code it judges.
"""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logferry.journal.journal import Journal
from logferry.journal.segment import MAGIC, Segment
from logferry.records import decoder
from logferry.records.invocations import Invocations
from logferry.records.model import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

ROOMY = 64 * 1024 * 1024
START_MS = 1_795_000_000_000
_HEAD = struct.Struct(">III")


def ticking(start: int = START_MS) -> Callable[[], int]:
    """Give a clock that is a millisecond later each time somebody looks."""
    return itertools.count(start).__next__


def origin(environment: str = "e1", *, concurrent: bool = False) -> Origin:
    """Give an origin of which only the environment matters."""
    return Origin(environment, function="orders", version="$LATEST", region="eu-west-1", concurrent=concurrent)


def open_journal(
    directory: Path,
    *,
    environment: str = "e1",
    limit_bytes: int = ROOMY,
    clock_ms: Callable[[], int] | None = None,
    complain: Callable[[str], None] = lambda _: None,
    following: Callable[[str | None, Iterable[bytes]], str | None] | None = None,
) -> Journal:
    """Open a journal with the two functions that the extension gives it."""
    return Journal(
        directory,
        origin=origin(environment),
        limit_bytes=limit_bytes,
        clock_ms=clock_ms or ticking(),
        count_records=decoder.count_records,
        follow=following or follow,
        complain=complain,
    )


def follow(running: str | None, bodies: Iterable[bytes]) -> str | None:
    """Say which request runs after these bodies, as the extension does."""
    seen = Invocations(running)
    for body in bodies:
        seen.see(body)
    return seen.running


def numbered(n: int, *, size: int = 0) -> bytes:
    """Give a delivery of one record that is known by its number; `size` bytes of padding."""
    return json.dumps([{"type": "function", "record": f"{n} {'x' * size}"}]).encode()


def number_of(body: bytes) -> int | None:
    """Give the number of a numbered body; None for one of the journal's own."""
    event = json.loads(body)[0]
    return int(event["record"].split()[0]) if event["type"] == "function" else None


def reports_in(bodies: list[bytes], kind: str) -> list[dict[str, Any]]:
    """Give the records of that kind (`logferry.dropped`, `logferry.damaged`) among the bodies."""
    events = [event for body in bodies for event in json.loads(body)]
    return [event["record"] for event in events if event["type"] == kind]


def bodies_in(journal: Journal, segment: Segment) -> list[bytes]:
    """Read a sealed segment."""
    with journal.reading(segment) as (_, bodies):
        return list(bodies)


def waiting_in(journal: Journal) -> list[bytes]:
    """Read everything that is sealed, oldest first."""
    return [body for segment in journal.sealed for body in bodies_in(journal, segment)]


def numbers_in(bodies: list[bytes]) -> list[int]:
    """Give the numbers of the numbered ones among the bodies."""
    return [n for body in bodies if (n := number_of(body)) is not None]


@dataclass(frozen=True)
class Frame:
    """Where a frame stands in its file: its head, its body, and the offset behind it."""

    head: int
    start: int
    end: int
    body: bytes


def frames_of(content: bytes) -> list[Frame]:
    """Split an undamaged segment file; the first frame is the header."""
    assert content.startswith(MAGIC)
    frames, at = [], len(MAGIC)
    while at < len(content):
        size, _, _ = _HEAD.unpack_from(content, at)
        size &= 0x7FFFFFFF  # the highest bit marks a delivery of our own
        start = at + _HEAD.size
        frames.append(Frame(at, start, start + size, content[start : start + size]))
        at = start + size
    return frames


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file where it stands."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    overwrite(path, bytes(content))


def overwrite(path: Path, content: bytes) -> None:
    """Replace a file's bytes and keep the file."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
