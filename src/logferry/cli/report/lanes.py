"""Choice of the lanes of the time line: which environments have their own lane, and which share one. Pure.

Guarantees:
- At most `MAX_ENVIRONMENTS` environments have their own lane, with at most `MAX_MARKS` marks in total.
- Each environment is in exactly one lane.
- Environments with a fault come first, and lose their own lane last.

Design: a browser draws some hundred lanes fluently, and a person compares even fewer. Above the limit a lane shows
counts by time for many environments of one function. A fault is shown in its own lane at any size.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

MAX_ENVIRONMENTS = 200
"""Maximum number of environments with their own lane."""
MAX_MARKS = 12_000
"""Maximum number of invocations and objects in these lanes: about 1.2 MB of the file."""
MAX_FAULTY = 60
"""Maximum number of faulty environments with their own lane, if most environments share lanes."""
MAX_FUNCTION_LANES = 400
"""Maximum number of functions with their own lane. The others share one."""
MAX_PARTS = 40
"""Maximum number of lanes among which the environments of one function are divided."""


class Environment(NamedTuple):
    """An execution environment with its number of objects and invocations. Times are epoch milliseconds."""

    environment: str
    function: str
    first: int
    last: int
    objects: int
    final: bool
    invocations: int
    failed: int


class Lane(NamedTuple):
    """One lane: a single environment, or several as counts. `function` is empty if it has several functions."""

    function: str
    environments: tuple[Environment, ...]
    is_single: bool


def choose(environments: Sequence[Environment], faulty: Collection[str]) -> list[Lane]:
    """Return the lanes in the order in which they are shown: faulty ones, then by function and time."""
    single = _single(environments, faulty)
    alone = {one.environment for one in single}
    lanes = [Lane(one.function, (one,), is_single=True) for one in single]
    lanes += _shared([one for one in environments if one.environment not in alone])
    return sorted(lanes, key=lambda lane: _rank(lane, faulty))


def _rank(lane: Lane, faulty: Collection[str]) -> tuple[bool, bool, str, int, str]:
    first = lane.environments[0]
    is_faulty = lane.is_single and first.environment in faulty
    return not is_faulty, not lane.function, lane.function, first.first, first.environment


def _single(environments: Sequence[Environment], faulty: Collection[str]) -> list[Environment]:
    """Return the environments with their own lane."""
    wanted = sorted(environments, key=lambda one: (one.environment not in faulty, not one.failed, one.first))
    if len(environments) > MAX_ENVIRONMENTS:
        wanted = [one for one in wanted if one.environment in faulty][:MAX_FAULTY]
    chosen, marks = [], 0
    for one in wanted:
        marks += one.objects + one.invocations
        if marks > MAX_MARKS:
            marks -= one.objects + one.invocations
            continue
        chosen.append(one)
    return chosen


def _shared(environments: Iterable[Environment]) -> list[Lane]:
    """Return lanes for environments that share them, each with environments of similar age."""
    by_function: dict[str, list[Environment]] = defaultdict(list)
    for one in environments:
        by_function[one.function].append(one)
    busiest = sorted(by_function, key=lambda name: (-sum(one.invocations for one in by_function[name]), name))
    parts = max(1, min(MAX_PARTS, MAX_ENVIRONMENTS // max(1, len(busiest))))
    lanes = []
    for name in busiest[:MAX_FUNCTION_LANES]:
        ordered = sorted(by_function[name], key=lambda one: (one.first, one.environment))
        size = -(-len(ordered) // parts)
        lanes += [
            Lane(name, tuple(ordered[place : place + size]), is_single=False) for place in range(0, len(ordered), size)
        ]
    if rest := [one for name in busiest[MAX_FUNCTION_LANES:] for one in by_function[name]]:
        lanes.append(Lane("", tuple(sorted(rest, key=lambda one: one.first)), is_single=False))
    return lanes
