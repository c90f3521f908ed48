"""Picture of the monthly cost of each policy against the invocations per day. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmark.pictures.svg import WIDTH, document, line, polyline, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TITLE = "Monthly cost of each flush policy against invocations per day"
COLORS = {
    "CloudWatch": "other",
    "Lambda to S3": "third",
    "invocation": "fifth",
    "time": "fourth",
    "size": "upload",
    "adaptive": "logferry",
}
"""Color of each line, by its name in `logferry cost --json`. The last line is on top."""
LABELS = {"adaptive": "adaptive (default)", "CloudWatch": "CloudWatch Logs"}
"""Text of a line that is not its name."""
LEFT, RIGHT, TOP, HEIGHT = 76, 150, 40, 300
"""Margins and height of the axes, in pixels."""
LABEL_PIXELS = 16
"""Least vertical distance of two labels."""
LOWEST_USD, HIGHEST_USD = 0.001, 1000.0


def draw(data: Mapping[str, Any]) -> str:
    """Return the picture."""
    axes = _Axes([point["invocations_per_day"] for point in data["points"]])
    body = [text(16, 24, "USD per month", kind="small muted"), *axes.grid()]
    ends = {}
    for name, color in COLORS.items():
        line_points = [(axes.x(p["invocations_per_day"]), axes.y(p["usd"][name])) for p in data["points"]]
        body.append(polyline(line_points, color=color))
        ends[name] = line_points[-1][1]
    for name, y in _apart(ends).items():
        body.append(text(WIDTH - RIGHT + 8, y + 4, LABELS.get(name, name), kind=f"small strong {COLORS[name]}"))
    return document(height=TOP + HEIGHT + 56, title=TITLE, description=_description(data), body=body)


class _Axes:
    """Two logarithmic axes."""

    def __init__(self, values: Sequence[int]) -> None:
        self._low, self._high = math.log10(min(values)), math.log10(max(values))

    def x(self, invocations: float) -> float:
        share = (math.log10(invocations) - self._low) / (self._high - self._low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, usd: float) -> float:
        low, high = math.log10(LOWEST_USD), math.log10(HIGHEST_USD)
        return TOP + HEIGHT * (1 - (max(math.log10(usd), low) - low) / (high - low))

    def grid(self) -> Iterator[str]:
        """Yield a line and a label for each power of ten."""
        for power in range(round(math.log10(LOWEST_USD)), round(math.log10(HIGHEST_USD)) + 1):
            y = self.y(10**power)
            yield line(LEFT, y, WIDTH - RIGHT, y)
            yield text(LEFT - 8, y + 4, f"{10**power:,.{max(0, -power)}f}", kind="small muted", anchor="end")
        for power in range(round(self._low), round(self._high) + 1):
            x = self.x(10**power)
            yield line(x, TOP + HEIGHT, x, TOP + HEIGHT + 5)
            yield text(x, TOP + HEIGHT + 21, f"{10**power:,}", kind="small muted", anchor="middle")
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield text(middle, TOP + HEIGHT + 43, "invocations per day", kind="small muted", anchor="middle")


def _apart(places: Mapping[str, float]) -> dict[str, float]:
    """Return the places of labels in the same order, moved down where two would overlap."""
    result: dict[str, float] = {}
    last = -math.inf
    for name, y in sorted(places.items(), key=lambda item: item[1]):
        last = max(y, last + LABEL_PIXELS)
        result[name] = last
    return result


def _description(data: Mapping[str, Any]) -> str:
    last = data["points"][-1]
    costs = ", ".join(f"{name} {last['usd'][name]:,.2f} USD" for name in COLORS)
    return (
        f"Computed by logferry cost for {data['lines']} lines of 200 bytes, {data['memory_mb']} MB and 100 ms per "
        f"invocation, with post-execution timing. At {last['invocations_per_day']:,} invocations per day: {costs}."
    )
