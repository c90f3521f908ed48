"""Samples, ratios of samples, and rows of the table. Pure.

A ratio is the quotient of two medians. Its spread is that of the quotients of each round, because
both samples of a round are taken in direct succession.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Spread:
    """A median with the 10th and the 90th percentile."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.median:.4g}"
        return f"{self.median:.4g} ({self.low:.4g}-{self.high:.4g})"


def spread(values: Sequence[float]) -> Spread:
    """Return the median of values and their percentiles."""
    return Spread(statistics.median(values), _percentile(values, 0.1), _percentile(values, 0.9))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the quotient of the medians, with the percentiles of the quotients of each round."""
    each = [one / other for one, other in zip(above, below, strict=False)]
    value = statistics.median(above) / statistics.median(below)
    return Spread(value, min(value, _percentile(each, 0.1)), max(value, _percentile(each, 0.9)))


def difference(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the difference of the medians, with the percentiles of the differences of each round."""
    each = [one - other for one, other in zip(above, below, strict=False)]
    value = statistics.median(above) - statistics.median(below)
    return Spread(value, min(value, _percentile(each, 0.1)), max(value, _percentile(each, 0.9)))


def exactly(value: float) -> Spread:
    """Return a value without a spread: one that is counted, or that takes too long for several rounds."""
    return Spread(value, value, value)


def _percentile(values: Sequence[float], share: float) -> float:
    """Interpolate linearly between the two nearest values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Target:
    """The value that a figure must reach."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Return whether a value reaches the target."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        return f"≤ {self.at_most:.4g}" if self.at_most is not None else f"≥ {self.at_least:.4g}"


@dataclass(frozen=True)
class Row:
    """One figure of the table. A figure without a target explains others."""

    name: str
    value: Spread
    unit: str
    target: Target | None = None
    detail: str = ""
    """The values from which the figure is computed."""

    @property
    def verdict(self) -> str:
        """Return `met`, `not met`, or an empty string without a target."""
        if self.target is None:
            return ""
        return "met" if self.target.met(self.value.median) else "not met"
