"""Setting of the fallback destination.

Guarantees:
- The two destinations do not overlap, so that readers of one never find the objects of the other.
"""

from __future__ import annotations

from posixpath import normpath
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry import destination
from logferry.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logferry.destination import Destination

_NESTED = ("s3", "file")
"""Schemes whose destinations contain all places below their path."""
_RECEIVERS = ("https", "http")


def _destination(text: str) -> Destination | None:
    return destination.parse(text) if text else None


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("FALLBACK_DESTINATION", "", "like `LOGFERRY_DESTINATION`", "second destination, which stores the objects while the first one keeps failing", _destination, destination.shown),
)  # fmt: skip


class FallbackOptions(NamedTuple):
    """The valid settings of this table."""

    destination: Destination


def contradictions(parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield a mistake if the destinations are the same place, or one contains the other."""
    first, second = parsed.get("DESTINATION"), parsed.get("FALLBACK_DESTINATION")
    if first is not None and second is not None and overlap(first, second):
        yield (
            "LOGFERRY_FALLBACK_DESTINATION and LOGFERRY_DESTINATION are the same place, or one contains the other: "
            "use another bucket, or prefixes next to each other"
        )


def read(parsed: Mapping[str, Any]) -> FallbackOptions:
    """Return the options of the parsed values."""
    return FallbackOptions(destination=parsed["FALLBACK_DESTINATION"])


def overlap(first: Destination, second: Destination) -> bool:
    """Return whether two destinations are the same place, or one contains the other."""
    if first == second:
        return True
    if first.scheme != second.scheme:
        return False
    if first.scheme in _RECEIVERS:
        return (first.address, first.path) == (second.address, second.path)
    if first.scheme not in _NESTED or first.authority != second.authority:
        return False
    one, other = _parts(normpath(first.path)), _parts(normpath(second.path))
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
