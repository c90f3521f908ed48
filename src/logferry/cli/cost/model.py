"""What a month of a function's logs costs under each policy, and what it costs to leave them to AWS. Pure.

What is counted for logferry: PUTs, the billed time that it adds (cold starts and SHUTDOWN included), and the storage
of what it ships. For AWS: ingestion or delivery, and storage. What is not: free tiers, discounts, reading the logs, the
CPU of compressing (a tenth of a cent per GB), and the PUTs of AWS's own delivery. A GB is taken as 2^30 bytes.

How often a policy ships is told by ``life``: by the policy itself, asked for each life of an environment. Invocations
come evenly over the day and over the environments. An environment ends when Lambda recycles it, or when nothing comes
for a while: each life then is one cold start, and one more object at SHUTDOWN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.cost.simulation import Rhythm, live
from logferry.flush.policy import Flush, Timing
from logferry.journal.journal import SEGMENTS_AT_LEAST
from logferry.settings import SETTINGS, Settings
from logferry.supervisor.lambda_api import SHORT_BUFFER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logferry.cli.cost.prices import Price
    from logferry.cli.cost.simulation import Shipped

DAYS = 30
GB = 1024**3
_DAY_SECONDS = 86_400

# --- what logferry itself takes: the README's table "Speed", on a whole core (tests/cli/test_bill.py compares them)

OBJECT_MS = 4.0
"""Added to S3's own time by a small object: "added to an invocation with one small object"."""
NOTHING_DUE_MS = 0.5
""" "Added to an invocation in which nothing is due"."""
SHUTDOWN_MS = 10.0
""" "SHUTDOWN to the end of the process, one object to ship", less the 20 ms that S3 took in it."""
INIT_MS = 48.0
"""Of a cold start: "a runtime's init of 300 ms of CPU on one shared core, with / without", 0.16 x 300 ms."""

# --- what is stored: the README's 0.4 of 1,000 bytes that an invocation logs, 0.8 where each is an object

STORED_SHARE = 0.3
"""Of a line's bytes after gzip. Taken for AWS's storage, too, so that all compress alike."""
STORED_INVOCATION_BYTES = 100
"""The platform's three records of an invocation, after gzip."""
STORED_OBJECT_BYTES = 400
"""What an object costs by itself: its compression starts from nothing."""
ENVELOPE_BYTES = 70
"""Around each line, uncompressed, as it waits: time and type (Telemetry API, "Event schema")."""
PLATFORM_BYTES = 800
"""The platform's three records of an invocation, uncompressed, as they wait."""
CLOUDWATCH_PLATFORM_BYTES = 270
"""START, END and REPORT, as CloudWatch is sent them."""

DEFAULT = next(setting.default for setting in SETTINGS if setting.name == "FLUSH")
"""The policy of a function that sets nothing."""
CENT = 0.01
"""For less in a month nobody should wait for a record."""
SAME = 0.01
"""A moment that changes the added time by less than this share is not shown beside the other."""


@dataclass(frozen=True)
class Function:
    """The figures of a function; the first five are the user's own, the others have defaults that are said."""

    invocations_per_day: float
    lines: int
    size: int
    """Bytes that an invocation logs."""
    memory_mb: int
    duration_ms: float
    architecture: str
    environments: int
    """At a time; the invocations are spread over them."""
    retention_days: int
    """Of what is stored, wherever it is."""
    life_hours: float
    """After which Lambda recycles an environment in use."""
    idle_minutes: float
    """After which Lambda ends an environment without invocations."""
    put_ms: float
    """S3's own time for a PUT."""

    @property
    def invocations(self) -> float:
        """In a month."""
        return self.invocations_per_day * DAYS

    @property
    def gap_seconds(self) -> float:
        """From one invocation of an environment to its next."""
        return _DAY_SECONDS * self.environments / self.invocations_per_day

    @property
    def lives(self) -> float:
        """Of environments, in a month: each is a cold start and a SHUTDOWN."""
        return self.invocations / self.invocations_per_life

    @property
    def invocations_per_life(self) -> int:
        """Of one of its environments: one, where Lambda does not wait for the next."""
        if self.gap_seconds - self.duration_ms / 1000 > self.idle_minutes * 60:
            return 1
        return max(1, math.floor(self.life_hours * 3600 / self.gap_seconds))

    def rhythm(self, most: int) -> Rhythm:
        """The life of one of its environments, whose journal lets so many bytes wait."""
        return Rhythm(
            invocations=self.invocations_per_life,
            gap=self.gap_seconds,
            seconds=self.duration_ms / 1000,
            size=self.size + self.lines * ENVELOPE_BYTES + PLATFORM_BYTES,
            idle=self.idle_minutes * 60,
            most=most,
        )


@dataclass(frozen=True)
class Bill:
    """A month under one policy, or with one of AWS's own ways: what is used, and USD by what it is paid for."""

    name: str
    policy: str | None
    puts: float
    added_seconds: float
    stored_gb: float
    """At a time, once the retention has filled up."""
    longest_wait: float | None
    """Seconds until a record is stored, at most; None where nobody says."""
    usd: Mapping[str, float]

    @property
    def total(self) -> float:
        """USD a month."""
        return math.fsum(self.usd.values())


def environments_needed(*, invocations_per_day: float, duration_ms: float) -> int:
    """Environments that are busy at a time: arrivals times duration (Little's law), at least one."""
    return max(1, math.ceil(invocations_per_day * duration_ms / 1000 / _DAY_SECONDS))


def candidates(chosen: dict[str, str], timings: Sequence[Timing]) -> list[Settings]:
    """The settings of each policy in each moment, with these LOGFERRY_ variables. Raises SettingsError."""
    somewhere = {"LOGFERRY_DESTINATION": "s3://any-bucket"}
    return [
        Settings.from_environ(
            somewhere | chosen | {"LOGFERRY_FLUSH": flush.value, "LOGFERRY_FLUSH_TIMING": timing.value}
        )
        for flush in Flush
        for timing in timings
    ]


def bills(function: Function, prices: Mapping[str, Price], candidates: Sequence[Settings]) -> list[Bill]:
    """A bill for each, unless it is like the one before in another moment, and those of AWS."""
    found: list[Bill] = []
    for settings in candidates:
        bill = _ferried(function, prices, settings)
        if not found or not _alike(found[-1], bill):
            found.append(bill)
    vended = [
        _vended("CloudWatch Logs", function, prices["cloudwatch_ingestion"], prices["cloudwatch_storage"]),
        _vended("Lambda to S3", function, prices["s3_delivery"], prices["s3_storage"]),
    ]
    return found + vended


def cheapest(found: Sequence[Bill]) -> Bill:
    """The cheapest of these; of those within a cent of it the one under which a record waits the shortest."""
    least = min(bill.total for bill in found)
    close = [bill for bill in found if bill.total <= least + CENT]
    return min(close, key=lambda bill: (bill.longest_wait or 0.0, bill.policy != DEFAULT))


def _alike(one: Bill, other: Bill) -> bool:
    return one.policy == other.policy and abs(one.added_seconds - other.added_seconds) <= SAME * one.added_seconds


def _ferried(function: Function, prices: Mapping[str, Price], settings: Settings) -> Bill:
    policy = settings.policy
    shipped = live(policy, function.rhythm(settings.spool_bytes // SEGMENTS_AT_LEAST))
    puts = function.lives * shipped.objects
    added = function.lives * _added_ms(function, shipped) / 1000
    stored = function.size * STORED_SHARE + STORED_INVOCATION_BYTES
    stored_gb = _kept_gb(function, function.invocations * stored + puts * STORED_OBJECT_BYTES)
    return Bill(
        name=policy.flush.value + ("" if policy.timing is Timing.POST_EXECUTION else f", {policy.timing.value}"),
        policy=policy.flush.value,
        puts=puts,
        added_seconds=added,
        stored_gb=stored_gb,
        longest_wait=shipped.longest_wait,
        usd={
            "PUTs": prices["s3_put"].of(puts / 1000),
            "time": prices[f"lambda_{function.architecture}"].of(added * function.memory_mb / 1024),
            "storage": prices["s3_storage"].of(stored_gb),
        },
    )


def _added_ms(function: Function, shipped: Shipped) -> float:
    """Billed milliseconds that a life is longer for.

    A flush after an invocation waits for the platform's buffer, then for S3. One beside it adds what the function is
    shorter than the upload. SHUTDOWN is billed as well (AWS Lambda pricing, "Duration": extensions).
    """
    upload = function.put_ms + OBJECT_MS
    after = shipped.after * (SHORT_BUFFER_MS + upload)
    beside = shipped.beside * max(0.0, upload - function.duration_ms)
    quiet = (function.invocations_per_life - shipped.after) * NOTHING_DUE_MS
    return INIT_MS + after + beside + quiet + function.put_ms + SHUTDOWN_MS


def _vended(name: str, function: Function, ingestion: Price, storage: Price) -> Bill:
    logged = function.invocations * (function.size + CLOUDWATCH_PLATFORM_BYTES)
    stored_gb = _kept_gb(function, logged * STORED_SHARE)
    return Bill(
        name=name,
        policy=None,
        puts=0.0,
        added_seconds=0.0,
        stored_gb=stored_gb,
        longest_wait=None,
        usd={"ingestion": ingestion.of(logged / GB), "storage": storage.of(stored_gb)},
    )


def _kept_gb(function: Function, month_bytes: float) -> float:
    return month_bytes / DAYS * function.retention_days / GB
