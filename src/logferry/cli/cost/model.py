"""The monthly cost of a function's logs with each flush policy and with AWS's log destinations.

Pure.

Design:
- logferry's cost has three parts: PUTs, the billed time that it adds (cold starts and SHUTDOWN
  included), and storage. AWS's cost has two: ingestion or delivery, and storage.
- Not included: free tiers, discounts, reading the logs, the CPU time of compression (0.1 cent per
  GB), and the PUTs of AWS's own delivery. A GB has 2^30 bytes.
- `simulation` gives the number of flushes. Invocations are spread evenly over the day and over the
  environments. Lambda ends an environment after its lifetime or after an idle time. Each
  environment adds one cold start and the object of SHUTDOWN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from logferry.cli.cost.simulation import Workload, simulate
from logferry.flush.policy import Flush, Timing
from logferry.journal.journal import SEGMENTS_AT_LEAST
from logferry.settings import Settings
from logferry.settings_table import SETTINGS
from logferry.values import SHORT_BUFFER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logferry.cli.cost.prices import Price
    from logferry.cli.cost.simulation import FlushTotals

DAYS = 30
GB = 1024**3
_DAY_SECONDS = 86_400

# --- logferry's own share: figures of the benchmark, on one core (tests/cli/cost/test_model.py compares them)

OBJECT_MS = 4.0
"""Time that logferry adds to S3's own time for a small object, in milliseconds."""
NOTHING_DUE_MS = 0.5
"""Time added to an invocation without a flush, in milliseconds."""
SHUTDOWN_MS = 10.0
"""Duration of SHUTDOWN with one object, without S3's own time, in milliseconds."""
INIT_MS = 48.0
"""Time added to a cold start, in milliseconds: 0.16 of a runtime's init of 300 ms on one shared
core."""

# --- stored bytes: 0.4 per logged byte if an invocation logs 1,000 bytes, 0.8 if each invocation is an object

STORED_SHARE = 0.3
"""Share of a line's bytes after gzip. AWS's storage has the same share, so that both compress
equally."""
STORED_INVOCATION_BYTES = 100
"""Size of the three platform records of an invocation after gzip, in bytes."""
STORED_OBJECT_BYTES = 400
"""Fixed size of an object, in bytes, because the compression of each object starts without a
dictionary."""
ENVELOPE_BYTES = 70
"""Bytes around each uncompressed line in the spool: time and type (Telemetry API, "Event schema").
"""
PLATFORM_BYTES = 800
"""Size of the three platform records of an invocation in the spool, in bytes."""
CLOUDWATCH_PLATFORM_BYTES = 270
"""Size of the lines START, END and REPORT in CloudWatch, in bytes."""

DEFAULT = next(setting.default for setting in SETTINGS if setting.name == "FLUSH")
"""Flush policy of a function without settings."""
CENT = 0.01
"""Difference in USD that does not justify a longer delay of records."""
SAME_SHARE = 0.01
"""Relative difference of the added time below which both timings are shown as one row."""


@dataclass(frozen=True)
class Function:
    """The figures of a function.

    The user gives the first five, and the report lists the defaults of the others.
    """

    invocations_per_day: float
    lines: int
    size: int
    """Bytes that an invocation logs."""
    memory_mb: int
    duration_ms: float
    architecture: str
    environments: int
    """Concurrent environments. The invocations are spread over them."""
    retention_days: int
    """Days that records are kept in every destination."""
    lifetime_hours: float
    """Age at which Lambda recycles an environment in use."""
    idle_minutes: float
    """Time without invocations after which Lambda ends an environment."""
    put_ms: float
    """Duration of a PUT in S3."""

    @property
    def invocations(self) -> float:
        """The invocations in a month."""
        return self.invocations_per_day * DAYS

    @property
    def gap_seconds(self) -> float:
        """The seconds between the starts of two invocations of an environment."""
        return _DAY_SECONDS * self.environments / self.invocations_per_day

    @property
    def cold_starts(self) -> float:
        """The environments that are started in a month. Each one has a cold start and a SHUTDOWN."""
        return self.invocations / self.invocations_per_environment

    @property
    def invocations_per_environment(self) -> int:
        """The invocations between cold start and SHUTDOWN.

        It is one if the idle time ends before the next invocation.
        """
        if self.gap_seconds - self.duration_ms / 1000 > self.idle_minutes * 60:
            return 1
        return max(1, math.floor(self.lifetime_hours * 3600 / self.gap_seconds))

    def workload(self, max_pending: int) -> Workload:
        """Return the load of one environment whose journal holds `max_pending` bytes in a segment."""
        return Workload(
            invocations=self.invocations_per_environment,
            gap=self.gap_seconds,
            seconds=self.duration_ms / 1000,
            size=self.size + self.lines * ENVELOPE_BYTES + PLATFORM_BYTES,
            idle=self.idle_minutes * 60,
            max_pending=max_pending,
        )


@dataclass(frozen=True)
class MonthlyCost:
    """Usage and cost of a month with one policy or with one of AWS's destinations."""

    name: str
    policy: str | None
    timing: str | None
    """The flush timing, or None if both timings cost the same."""
    puts: float
    added_seconds: float
    stored_gb: float
    """Stored volume once the retention time is reached."""
    max_delay_seconds: float | None
    """Maximum time until a record is stored, or None if AWS does not state it."""
    usd: Mapping[str, float]

    @property
    def total(self) -> float:
        """The USD of a month."""
        return math.fsum(self.usd.values())


def environments_needed(*, invocations_per_day: float, duration_ms: float) -> int:
    """Return the number of concurrent environments by Little's law: arrival rate times duration."""
    return max(1, math.ceil(invocations_per_day * duration_ms / 1000 / _DAY_SECONDS))


def candidates(chosen: dict[str, str], timings: Sequence[Timing]) -> list[Settings]:
    """Return the settings of each policy with each timing and with these variables.

    Raise SettingsError.
    """
    destination = {"LOGFERRY_DESTINATION": "s3://any-bucket"}
    return [
        Settings.from_environ(
            destination | chosen | {"LOGFERRY_FLUSH": flush.value, "LOGFERRY_FLUSH_TIMING": timing.value}
        )
        for flush in Flush
        for timing in timings
    ]


def monthly_costs(function: Function, prices: Mapping[str, Price], candidates: Sequence[Settings]) -> list[MonthlyCost]:
    """Return the cost of each candidate and of AWS's destinations.

    Timings with the same cost share one row.
    """
    found: list[MonthlyCost] = []
    for settings in candidates:
        cost = _logferry_cost(function, prices, settings)
        if found and _same_cost(found[-1], cost):
            found[-1] = replace(found[-1], timing=None)
        else:
            found.append(cost)
    return [
        *found,
        _aws_cost("CloudWatch", function, prices["cloudwatch_ingestion"], prices["cloudwatch_storage"]),
        _aws_cost("Lambda to S3", function, prices["s3_delivery"], prices["s3_storage"]),
    ]


def cheapest(found: Sequence[MonthlyCost]) -> MonthlyCost:
    """Return the cheapest cost.

    Among those within a cent of it, return the one with the shortest delay.
    """
    least = min(cost.total for cost in found)
    close = [cost for cost in found if cost.total <= least + CENT]
    return min(close, key=lambda cost: (cost.max_delay_seconds or 0.0, cost.policy != DEFAULT))


def _same_cost(one: MonthlyCost, other: MonthlyCost) -> bool:
    difference = abs(one.added_seconds - other.added_seconds)
    return one.policy == other.policy and difference <= SAME_SHARE * one.added_seconds


def _logferry_cost(function: Function, prices: Mapping[str, Price], settings: Settings) -> MonthlyCost:
    policy = settings.policy
    totals = simulate(policy, function.workload(settings.spool_bytes // SEGMENTS_AT_LEAST))
    puts = function.cold_starts * totals.objects
    added = function.cold_starts * _added_ms(function, totals) / 1000
    stored = function.size * STORED_SHARE + STORED_INVOCATION_BYTES
    stored_gb = _kept_gb(function, function.invocations * stored + puts * STORED_OBJECT_BYTES)
    return MonthlyCost(
        name=policy.flush.value + ("" if policy.timing is Timing.POST_EXECUTION else f", {policy.timing.value}"),
        policy=policy.flush.value,
        timing=policy.timing.value,
        puts=puts,
        added_seconds=added,
        stored_gb=stored_gb,
        max_delay_seconds=totals.max_delay,
        usd={
            "PUTs": prices["s3_put"].of(puts / 1000),
            "time": prices[f"lambda_{function.architecture}"].of(added * function.memory_mb / 1024),
            "storage": prices["s3_storage"].of(stored_gb),
        },
    )


def _added_ms(function: Function, totals: FlushTotals) -> float:
    """Return the billed milliseconds that logferry adds to one environment.

    A post-execution flush waits for the platform's buffer and for S3. A flush during the next
    invocation adds the part of the upload that exceeds the function's duration. SHUTDOWN is billed
    (AWS Lambda pricing, "Duration": extensions).
    """
    upload = function.put_ms + OBJECT_MS
    post_execution = totals.post_execution * (SHORT_BUFFER_MS + upload)
    next_invocation = totals.next_invocation * max(0.0, upload - function.duration_ms)
    without_flush = (function.invocations_per_environment - totals.post_execution) * NOTHING_DUE_MS
    return INIT_MS + post_execution + next_invocation + without_flush + function.put_ms + SHUTDOWN_MS


def _aws_cost(name: str, function: Function, ingestion: Price, storage: Price) -> MonthlyCost:
    logged = function.invocations * (function.size + CLOUDWATCH_PLATFORM_BYTES)
    stored_gb = _kept_gb(function, logged * STORED_SHARE)
    return MonthlyCost(
        name=name,
        policy=None,
        timing=None,
        puts=0.0,
        added_seconds=0.0,
        stored_gb=stored_gb,
        max_delay_seconds=None,
        usd={"ingestion": ingestion.of(logged / GB), "storage": storage.of(stored_gb)},
    )


def _kept_gb(function: Function, month_bytes: float) -> float:
    return month_bytes / DAYS * function.retention_days / GB
