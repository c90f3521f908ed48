"""Paths to values in JSON: `$.user.password`, `$.items[*].card`, `$..token`. Pure.

Guarantees:
- A match takes time linear in the path for each position, with one `..`; with several, quadratic in the depth.

Design: a subset of RFC 9535: names, indexes, `*`, and `..`. Filters and slices need an evaluator and have no use here.

References: RFC 9535, section 2.5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ANY, DEEP = object(), object()
"""Parts of a path: any member or element, and any number of levels."""
_PART = re.compile(
    r"(?P<deep>\.\.)?(?:(?P<dot>\.)?(?:(?P<name>[A-Za-z_$@\u0080-\U0010ffff][\w$@-]*)|(?P<star>\*))"
    r"|\[(?:(?P<index>\d{1,9})|(?P<any>\*)|'(?P<single>[^'\\]*)'|\"(?P<double>[^\"\\]*)\")\])"
)
_REMEDY = "use a path such as $.user.password, $.items[*].card, $['a key'] or $..token"


class JsonPath:
    """A path, parsed."""

    __slots__ = ("last_name", "parts")

    def __init__(self, source: str) -> None:
        """Parse a path. Raise ValueError with the remedy."""
        self.parts: list[object] = []
        position = 1
        while source.startswith("$") and position < len(source):
            part = _PART.match(source, position)
            if part is None or ((part["name"] or part["star"]) and bool(part["deep"]) == bool(part["dot"])):
                break
            self.parts += [DEEP] if part["deep"] else []
            self.parts.append(_key_of(part))
            position = part.end()
        if len(self.parts) == 0 or position != len(source):
            raise ValueError(f"{source!r} is not a JSON path: {_REMEDY}")
        names = [part for part in self.parts if isinstance(part, str)]
        self.last_name: str | None = names[-1] if names else None
        """Last name in the path, which occurs in every text with a match."""

    def matches(self, place: Sequence[object]) -> bool:
        """Return whether the path leads to a place, which is given as names and indexes."""
        # The search for `..` continues one level deeper whenever the rest does not match, as with `*` in a glob.
        part = level = 0
        retry: tuple[int, int] | None = None
        while level < len(place):
            wanted = self.parts[part] if part < len(self.parts) else None
            if wanted is DEEP:
                part += 1
                retry = (part, level)
            elif wanted is ANY or (wanted is not None and wanted == place[level]):
                part, level = part + 1, level + 1
            elif retry:
                retry = (retry[0], retry[1] + 1)
                part, level = retry
            else:
                return False
        return part == len(self.parts)


def _key_of(part: re.Match[str]) -> object:
    if part["star"] or part["any"]:
        return ANY
    if part["index"] is not None:
        return int(part["index"])
    return next(part[group] for group in ("name", "single", "double") if part[group] is not None)
