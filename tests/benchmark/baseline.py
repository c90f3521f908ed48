"""Rows that compare logferry with the layer of an earlier commit (`--baseline`), measured in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NOT_WORSE = Target(at_most=1.1)
"""Limit of a figure that must not become worse; the noise of the machine is up to 10 %."""


def against_baseline(
    name: str, samples: Mapping[str, Sequence[float]], unit: str, target: Target | None = None
) -> Iterator[Row]:
    """Return the row of a figure as a multiple of the baseline layer's, or nothing without a baseline."""
    if "baseline" in samples:
        yield Row(
            f"{name}, / baseline", ratio(samples["logferry"], samples["baseline"]), "x", target,
            f"logferry {spread(samples['logferry'])} {unit}, baseline {spread(samples['baseline'])} {unit}",
        )  # fmt: skip
