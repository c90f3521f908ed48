"""Records that logferry made in a session, counted by type: summaries, timeouts, calls, events, losses.

Design: a destination may hold the objects of earlier sessions, so only the objects that a session has added are read.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from logferry.cli.object_reader import open_destination, read_all
from logferry.cli.stored_objects import BrokenLinesError, DestinationError, ReadObject
from logferry.cli.verify.line_place import CLOSING_TYPES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from logferry.cli.stored_objects import UnreadableObject

PREFIX = "logferry."


async def keys_in(destination: str) -> set[str] | None:
    """Return the keys of the objects in a destination, or None if it is not readable."""
    try:
        async with open_destination(destination) as opened:
            return set(await opened.keys())
    except DestinationError:
        return None


async def own_records_in(destination: str, keys: Collection[str]) -> Counter[str]:
    """Return the number of records of each type of logferry in some objects, without the prefix of the types."""
    found: list[ReadObject] = []

    def take(stored: ReadObject | UnreadableObject) -> None:
        if isinstance(stored, ReadObject):
            found.append(stored)

    async with open_destination(destination) as opened:
        await read_all(opened, keys, take)
    return own_records_of(found)


def own_records_of(objects: Iterable[ReadObject]) -> Counter[str]:
    """Return the number of records of each type of logferry, without the prefix of the types."""
    return Counter(kind for stored in objects for kind in _types(stored.lines))


def text_of(counted: Mapping[str, int]) -> str:
    """Return the numbers for the summary, the most frequent type first."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered)


def _types(lines: Iterable[bytes]) -> Iterable[str]:
    """Yield the types of logferry's records. An object that is damaged yields those before the damage."""
    try:
        for line in lines:
            if b'"type":"logferry.' in line:
                kind = json.loads(line)["type"]
                if kind not in CLOSING_TYPES:
                    yield kind.removeprefix(PREFIX)
    except (BrokenLinesError, ValueError):
        return
