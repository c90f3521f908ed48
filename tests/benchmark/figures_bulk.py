"""Figures of volume: sustained ingest, an invocation with very many lines, 10,000 invocations, bytes and PUTs."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmark import log_lines
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.s3 import SERVICE_MS
from benchmark.statistic import Row, Spread, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmark.rivals import Rival
    from benchmark.workbench import Workbench

MB = 1e6
INGEST_BYTES = 96 * MB
NAIVE_INGEST_BYTES = 12 * MB
"""It holds everything as Python objects, and needs half a minute of CPU for a gigabyte of lines."""
OUTSTANDING_RECORDS = 100_000
"""Accepted and not yet stored: 28 MB, half of the spool. Faster than that is not sustained."""
BURST_LINES = 100_000
BURST_DELIVERIES = 2000
"""Records in a delivery."""
STORED_SECONDS = 60.0
FLAT = 1.05
"""A tenth of a page kept for each invocation would show; the allocator's own unrest is 2 %."""
FIRST_LOOK, LAST_LOOK = 1_000, 10_000
"""Invocations after which memory is looked at."""
COUNTED_INVOCATIONS = 1_000
SAMPLE_SECONDS = 0.02
WHOLE = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_FLUSH_BYTES": "4MiB"}
POLICIES = ("invocation", "time", "size", "adaptive")


@dataclass(frozen=True)
class _Ingested:
    megabytes_per_second: float
    cpu_per_gigabyte: float
    missing: int


def ingest(bench: Workbench) -> Iterator[Row]:
    """Sustained ingest on one core."""
    generated = log_lines.deliveries(log_lines.Lines().records(20_000, log_lines.REQUEST_ID))
    bodies = [(body, body.count(b'"type":"function"')) for body in generated]
    with bench.one_core() as core:

        def take(rival: Rival, size: float) -> _Ingested:
            with Environment(rival, bench.s3, settings=WHOLE, cpus=core) as environment:
                environment.warm_up()
                cpu, stored = environment.settle(), bench.s3.stored
                request = environment.begin()
                environment.deliver(environment.opening(request, 0))
                sent, records = 0, 0
                for number in itertools.count():
                    if sent >= size:
                        break
                    body, lines = bodies[number % len(bodies)]
                    environment.deliver(log_lines.numbered(body, number))
                    sent, records = sent + len(body), records + lines + 1
                    if rival is bench.rivals.logferry:
                        bench.s3.wait_for(stored.records + records - OUTSTANDING_RECORDS, STORED_SECONDS)
                environment.finish(request)
                seconds = environment.next_at - environment.invoked_at
                # The report of the invocation before, the start and the end of this one are records too.
                missing = stored.records + records + 3 - bench.s3.stored.records
                return _Ingested(sent / MB / seconds, (environment.settle() - cpu) / (sent / 1e9), missing)

        taken = bench.turns(
            {
                "logferry": lambda: take(bench.rivals.logferry, INGEST_BYTES),
                "naive": lambda: take(bench.rivals.naive, NAIVE_INGEST_BYTES),
            }
        )
    ours, naive = taken["logferry"], taken["naive"]
    rate, cpu, cpu_naive = (
        [t.megabytes_per_second for t in ours], [t.cpu_per_gigabyte for t in ours], [t.cpu_per_gigabyte for t in naive]
    )  # fmt: skip
    yield Row(
        "ingest on one core, sustained to S3, 200 B lines in 256 KiB deliveries", spread(rate), "MB/s",
        Target(at_least=60), f"naive {spread([t.megabytes_per_second for t in naive])} MB/s",
    )  # fmt: skip
    yield Row("records dropped by it, worst round", _once(max(t.missing for t in ours)), "", Target(at_most=0))
    yield Row(
        "CPU per GB of it, beside naive", ratio(cpu, cpu_naive), "x", Target(at_most=0.4),
        f"logferry {spread(cpu)} s/GB, naive {spread(cpu_naive)} s/GB",
    )  # fmt: skip


def burst(bench: Workbench) -> Iterator[Row]:
    """One invocation with 100,000 lines."""

    def take() -> tuple[float, float, int]:
        kept = bench.scratch / "burst"
        kept.mkdir(exist_ok=True)
        with Environment(bench.rivals.logferry, bench.s3) as environment:
            environment.warm_up()
            environment.settle()
            idle = environment.pss_bytes()
            bench.s3.keep(kept)
            with _Peak(environment) as peak:
                request = environment.begin()
                environment.deliver(environment.opening(request, 0))
                lines = log_lines.Lines()
                for _ in range(BURST_LINES // BURST_DELIVERIES):
                    environment.deliver(log_lines.delivery(lines.records(BURST_DELIVERIES, request)))
                environment.finish(request)
                environment.shut_down()
            bench.s3.keep(None)
        return peak.bytes / idle, idle / MB, BURST_LINES - _function_lines(kept)

    taken = bench.turns({"logferry": take}, discard=False)["logferry"]
    yield Row(
        f"memory during an invocation with {BURST_LINES:,} lines, beside idle", spread([t[0] for t in taken]), "x",
        Target(at_most=1.3), f"idle {spread([t[1] for t in taken])} MB (PSS, the highest of a sample each 20 ms)",
    )  # fmt: skip
    yield Row("lines of it that did not arrive, worst round", _once(max(t[2] for t in taken)), "", Target(at_most=0))


class _Peak:
    """The highest memory seen inside the block."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._environment.pss_bytes())


def _function_lines(folder: Path) -> int:
    """The function's lines in what was kept; the folder is emptied."""
    count = 0
    for file in folder.iterdir():
        lines = gzip.decompress(file.read_bytes()).splitlines()
        count += sum(json.loads(line)["type"] == "function" for line in lines)
        file.unlink()
    return count


def flat(bench: Workbench) -> Iterator[Row]:
    """Memory over ten thousand invocations, one object each."""
    bench.s3.answer_after(0)
    try:
        with Environment(bench.rivals.logferry, bench.s3, settings=PER_INVOCATION) as environment:
            looks = []
            for count in range(1, LAST_LOOK + 1):
                _quick(environment)
                if count in (FIRST_LOOK, LAST_LOOK):
                    environment.settle()
                    looks.append(environment.pss_bytes())
                if count % FIRST_LOOK == 0:
                    bench.say(f"invocation {count:,} of {LAST_LOOK:,}")
    finally:
        bench.s3.answer_after(SERVICE_MS)
    first, last = looks
    yield Row(
        f"memory after {LAST_LOOK:,} invocations, beside {FIRST_LOOK:,}", _once(last / first), "x",
        Target(at_most=FLAT), f"{first / MB:.2f} MB, then {last / MB:.2f} MB (PSS, an object per invocation, once)",
    )  # fmt: skip


def policies(bench: Workbench) -> Iterator[Row]:
    """Bytes stored per byte logged, and PUTs per 1,000 invocations, at each policy."""
    bench.s3.answer_after(0)
    logged = COUNTED_INVOCATIONS * 5 * log_lines.LINE_BYTES
    try:
        for policy in POLICIES:
            bench.say(f"{policy}: {COUNTED_INVOCATIONS:,} invocations")
            before = bench.s3.stored
            with Environment(bench.rivals.logferry, bench.s3, settings={"LOGFERRY_FLUSH": policy}) as environment:
                for _ in range(COUNTED_INVOCATIONS):
                    _quick(environment)
                environment.shut_down()
            after = bench.s3.wait_for_object(before, STORED_SECONDS)
            yield Row(
                f"{policy}: PUTs per {COUNTED_INVOCATIONS:,} invocations at once after each other",
                _once(after.objects - before.objects), "",
                detail=f"{(after.size - before.size) / logged:.3f} bytes stored per byte logged",
            )  # fmt: skip
    finally:
        bench.s3.answer_after(SERVICE_MS)


def _quick(environment: Environment) -> None:
    """An invocation of five lines whose function takes no time."""
    request = environment.begin()
    environment.deliver(environment.opening(request, 5))
    environment.finish(request)


def _once(value: float) -> Spread:
    """A figure that is counted, or too long to be taken many times."""
    return Spread(value, value, value)
