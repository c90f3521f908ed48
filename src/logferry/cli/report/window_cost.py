"""Cost of the reported window with each flush policy, from the traffic that the records show. Pure.

Design: the model is that of `logferry cost`. The records give invocations, log lines, durations, memory and the number
of concurrent environments. Architecture, retention and S3's response time are not in the records, so they are the
defaults of that command. The model takes 50 ms for a function, so only the busiest functions are modelled, and the
result states their share.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from logferry.cli.cost import model
from logferry.cli.cost.prices import load
from logferry.flush.policy import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_FUNCTIONS = 25
"""Maximum number of functions whose cost is modelled."""
SHORTEST_MS = 60_000
"""Minimum length of a window for the rate of its invocations, in milliseconds."""
_DAY_MS = 86_400_000
ARCHITECTURE, RETENTION_DAYS, LIFETIME_HOURS, IDLE_MINUTES, PUT_MS = "x86_64", 30, 2.0, 10.0, 25.0
"""Figures that the records do not contain: the defaults of `logferry cost`."""


def window_cost(functions: Sequence[Mapping[str, Any]], *, length_ms: int) -> dict[str, Any]:
    """Return the monthly cost of each policy at the rate of the window, and the request cost of its objects.

    `functions` are the rows of `collect.Collected.functions` without the totals.
    """
    prices = load()
    candidates = model.candidates({}, list(Timing))
    invoked = sorted((each for each in functions if each["invocations"]), key=lambda each: -each["invocations"])
    modelled = invoked[:MAX_FUNCTIONS]
    sums: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"usd": 0.0, "puts": 0.0, "added_seconds": 0.0, "delay": None}
    )
    for each in modelled:
        for cost in _separate(model.monthly_costs(_function(each, length_ms), prices, candidates)):
            row = sums[cost.name]
            row["policy"] = cost.policy
            row["usd"] += cost.total
            row["puts"] += cost.puts
            row["added_seconds"] += cost.added_seconds
            if cost.max_delay_seconds is not None:
                row["delay"] = max(row["delay"] or 0.0, cost.max_delay_seconds)
    total = sum(each["invocations"] for each in invoked)
    return {
        "policies": [{"name": name} | row for name, row in sums.items()],
        "functions": len(modelled),
        "share": sum(each["invocations"] for each in modelled) / total if total else 1.0,
        "month_share": length_ms / (model.DAYS * _DAY_MS),
        "put_usd": prices["s3_put"].of(sum(each["objects"] for each in functions) / 1000),
        "region": prices["s3_put"].region,
        "date": prices["s3_put"].date,
    }


def _separate(costs: Iterable[model.MonthlyCost]) -> Iterable[model.MonthlyCost]:
    """Yield one cost for each policy: that of the default timing. The row of a later timing is omitted."""
    seen = set()
    for cost in costs:
        if cost.policy not in seen or cost.policy is None:
            seen.add(cost.policy)
            yield cost


def _function(row: Mapping[str, Any], length_ms: int) -> model.Function:
    count = row["invocations"]
    per_day = max(1.0, count * _DAY_MS / max(length_ms, SHORTEST_MS))
    duration = min(max(row["mean"] or 1.0, 1.0), 900_000.0)
    needed = model.environments_needed(invocations_per_day=per_day, duration_ms=duration)
    return model.Function(
        invocations_per_day=per_day,
        lines=round(row["lines"] / count),
        size=round(row["bytes"] / count),
        memory_mb=row["memory_mb"] or 128,
        duration_ms=duration,
        environments=max(needed, round((row["alive"] or 0.0) / max(length_ms, 1))),
        architecture=ARCHITECTURE,
        retention_days=RETENTION_DAYS,
        lifetime_hours=LIFETIME_HOURS,
        idle_minutes=IDLE_MINUTES,
        put_ms=PUT_MS,
    )
