"""Helpers of the journal's tests: a journal wired as in the extension, numbered bodies, and a second reader.

`frames_of` reads a segment file with separate code, by the format that `frame` and `segment` describe. A test that
damages a file finds its place without the code that it judges.
"""

from __future__ import annotations

import itertools
import json
import os
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

    from logferry.records.model import Header

ROOMY = 64 * 1024 * 1024
START_MS = 1_795_000_000_000
_HEAD = struct.Struct(">III")


def ticking(start: int = START_MS) -> Callable[[], int]:
    """Return a clock that advances by a millisecond with each call."""
    return itertools.count(start).__next__


def origin(environment: str = "e1", *, concurrent: bool = False) -> Origin:
    """Return an origin of which only the environment matters."""
    return Origin(environment, function="orders", version="$LATEST", region="eu-west-1", concurrent=concurrent)


def open_journal(
    directory: Path,
    *,
    environment: str = "e1",
    limit_bytes: int = ROOMY,
    clock_ms: Callable[[], int] | None = None,
    warn: Callable[[str], None] = lambda _: None,
    is_omitted: Callable[[bytes], bool] = lambda _: False,
    following: Callable[[Header, Iterable[bytes]], str | None] | None = None,
    segment_bytes: int | None = None,
) -> Journal:
    """Return an open journal with the two functions that the extension passes to it."""
    return Journal(
        str(directory),
        origin=origin(environment),
        limit_bytes=limit_bytes,
        clock_ms=clock_ms or ticking(),
        count_records=decoder.count_records,
        follow=following or follow,
        warn=warn,
        is_omitted=is_omitted,
        segment_bytes=segment_bytes,
    )


def close(journal: Journal) -> None:
    """Release the directory of a journal, as the end of its process does; the bodies that wait stay."""
    journal._file.close()
    if journal._lock >= 0:
        os.close(journal._lock)
    journal._lock = -1


def follow(header: Header, bodies: Iterable[bytes]) -> str | None:
    """Return the request that runs after these bodies, as the extension does."""
    seen = Invocations()
    seen.resume(header)
    for body in bodies:
        seen.see(body)
    return seen.running


def numbered(n: int, *, size: int = 0) -> bytes:
    """Return a batch of one record that is identified by its number; `size` bytes of padding."""
    return json.dumps([{"type": "function", "record": f"{n} {'x' * size}"}]).encode()


def number_of(body: bytes) -> int | None:
    """Return the number of a numbered body; None for a body that the journal made."""
    event = json.loads(body)[0]
    return int(event["record"].split()[0]) if event["type"] == "function" else None


def reports_in(bodies: list[bytes], kind: str) -> list[dict[str, Any]]:
    """Return the records of that type (`logferry.dropped`, `logferry.damaged`) among the bodies."""
    events = [event for body in bodies for event in json.loads(body)]
    return [event["record"] for event in events if event["type"] == kind]


def bodies_in(journal: Journal, segment: Segment) -> list[bytes]:
    """Return the bodies of a sealed segment."""
    with journal.reading(segment) as (_, bodies):
        return list(bodies)


def waiting_in(journal: Journal) -> list[bytes]:
    """Return the bodies of all sealed segments, oldest first."""
    return [body for segment in journal.sealed for body in bodies_in(journal, segment)]


def numbers_in(bodies: list[bytes]) -> list[int]:
    """Return the numbers of the numbered ones among the bodies."""
    return [n for body in bodies if (n := number_of(body)) is not None]


@dataclass(frozen=True)
class Frame:
    """Place of a frame in its file: its head, its body, and the offset behind it."""

    head: int
    start: int
    end: int
    body: bytes


def frames_of(content: bytes) -> list[Frame]:
    """Return the frames of an undamaged segment file; the first frame is the header."""
    assert content.startswith(MAGIC)
    frames, at = [], len(MAGIC)
    while at < len(content):
        size, _, _ = _HEAD.unpack_from(content, at)
        size &= 0x7FFFFFFF  # the highest bit marks an internal batch
        start = at + _HEAD.size
        frames.append(Frame(at, start, start + size, content[start : start + size]))
        at = start + size
    return frames


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file in place."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    overwrite(path, bytes(content))


def overwrite(path: Path, content: bytes) -> None:
    """Replace a file's bytes and keep the file."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
