"""Figures of volume: sustained ingest, an invocation with many lines, 10,000 invocations, bytes and PUTs."""

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
from benchmark.statistic import Row, Target, exactly, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmark.extensions import Extension
    from benchmark.run_context import RunContext

MB = 1e6
INGEST_BYTES = 96 * MB
NAIVE_INGEST_BYTES = 12 * MB
"""Volume for the naive shipper: it holds all records as Python objects and needs 30 s of CPU time per gigabyte."""
OUTSTANDING_RECORDS = 100_000
"""Maximum number of accepted records that are not stored (28 MB, half of the spool); a higher rate is not sustained."""
BURST_LINES = 100_000
BURST_BATCH_RECORDS = 2000
"""Number of records in a batch."""
STORED_SECONDS = 60.0
FLAT = 1.05
"""Maximum growth: a tenth of a page per invocation would exceed it; the allocator's own variation is 2 %."""
FIRST_COUNT, LAST_COUNT = 1_000, 10_000
"""Numbers of invocations after which memory is measured."""
COUNTED_INVOCATIONS = 1_000
SAMPLE_SECONDS = 0.02
LARGE_SEGMENTS = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_FLUSH_BYTES": "4MiB"}
POLICIES = ("invocation", "time", "size", "adaptive")


@dataclass(frozen=True)
class _Ingested:
    megabytes_per_second: float
    cpu_per_gigabyte: float
    missing: int


def ingest(run: RunContext) -> Iterator[Row]:
    """Sustained ingest on one core."""
    generated = log_lines.deliveries(log_lines.Lines().records(20_000, log_lines.REQUEST_ID))
    bodies = [(body, body.count(b'"type":"function"')) for body in generated]
    with run.one_core() as core:

        def take(extension: Extension, size: float) -> _Ingested:
            with Environment(extension, run.s3, settings=LARGE_SEGMENTS, cpus=core) as environment:
                environment.warm_up()
                cpu, stored = environment.settle(), run.s3.stored
                request = environment.begin()
                environment.deliver(environment.opening(request, 0))
                sent, records = 0, 0
                for number in itertools.count():
                    if sent >= size:
                        break
                    body, lines = bodies[number % len(bodies)]
                    environment.deliver(log_lines.numbered(body, number))
                    sent, records = sent + len(body), records + lines + 1
                    if extension is run.extensions.logferry:
                        run.s3.wait_for(stored.records + records - OUTSTANDING_RECORDS, STORED_SECONDS)
                environment.finish(request)
                seconds = environment.next_at - environment.invoked_at
                # The previous report, the start and the end of this invocation are records too.
                missing = stored.records + records + 3 - run.s3.stored.records
                return _Ingested(sent / MB / seconds, (environment.settle() - cpu) / (sent / 1e9), missing)

        samples = run.interleaved(
            {
                "logferry": lambda: take(run.extensions.logferry, INGEST_BYTES),
                "naive": lambda: take(run.extensions.naive, NAIVE_INGEST_BYTES),
            }
        )
    ours, naive = samples["logferry"], samples["naive"]
    rate, cpu, cpu_naive = (
        [t.megabytes_per_second for t in ours], [t.cpu_per_gigabyte for t in ours], [t.cpu_per_gigabyte for t in naive]
    )  # fmt: skip
    yield Row(
        "ingest on one core, sustained to S3, 200 B lines in 256 KiB batches", spread(rate), "MB/s",
        Target(at_least=60), f"naive {spread([t.megabytes_per_second for t in naive])} MB/s",
    )  # fmt: skip
    yield Row("records lost by it, worst round", exactly(max(t.missing for t in ours)), "", Target(at_most=0))
    yield Row(
        "CPU per GB of it, / naive", ratio(cpu, cpu_naive), "x", Target(at_most=0.4),
        f"logferry {spread(cpu)} s/GB, naive {spread(cpu_naive)} s/GB",
    )  # fmt: skip


def burst(run: RunContext) -> Iterator[Row]:
    """One invocation with 100,000 lines."""

    def take() -> tuple[float, float, int]:
        kept = run.scratch / "burst"
        kept.mkdir(exist_ok=True)
        with Environment(run.extensions.logferry, run.s3) as environment:
            environment.warm_up()
            environment.settle()
            idle = environment.pss_bytes()
            run.s3.keep(kept)
            with _Peak(environment) as peak:
                request = environment.begin()
                environment.deliver(environment.opening(request, 0))
                lines = log_lines.Lines()
                for _ in range(BURST_LINES // BURST_BATCH_RECORDS):
                    environment.deliver(log_lines.delivery(lines.records(BURST_BATCH_RECORDS, request)))
                environment.finish(request)
                environment.shut_down()
            run.s3.keep(None)
        return peak.bytes / idle, idle / MB, BURST_LINES - _function_lines(kept)

    samples = run.interleaved({"logferry": take}, discard=False)["logferry"]
    yield Row(
        f"memory during an invocation with {BURST_LINES:,} lines, / idle", spread([t[0] for t in samples]), "x",
        Target(at_most=1.3), f"idle {spread([t[1] for t in samples])} MB (PSS, the highest sample, one every 20 ms)",
    )  # fmt: skip
    yield Row(
        "lines of it that are not stored, worst round", exactly(max(t[2] for t in samples)), "", Target(at_most=0)
    )


class _Peak:
    """The highest memory of an environment during the block."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Self:
        """Start the measurement."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the measurement."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._environment.pss_bytes())


def _function_lines(folder: Path) -> int:
    """Return the number of function lines in the kept objects, and empty the folder."""
    count = 0
    for file in folder.iterdir():
        lines = gzip.decompress(file.read_bytes()).splitlines()
        count += sum(json.loads(line)["type"] == "function" for line in lines)
        file.unlink()
    return count


def growth(run: RunContext) -> Iterator[Row]:
    """Memory after ten thousand invocations with one object each."""
    run.s3.set_service_time(0)
    try:
        with Environment(run.extensions.logferry, run.s3, settings=PER_INVOCATION) as environment:
            measured = []
            for count in range(1, LAST_COUNT + 1):
                _short_invocation(environment)
                if count in (FIRST_COUNT, LAST_COUNT):
                    environment.settle()
                    measured.append(environment.pss_bytes())
                if count % FIRST_COUNT == 0:
                    run.progress(f"invocation {count:,} of {LAST_COUNT:,}")
    finally:
        run.s3.set_service_time(SERVICE_MS)
    first, last = measured
    yield Row(
        f"memory after {LAST_COUNT:,} invocations, / {FIRST_COUNT:,}", exactly(last / first), "x",
        Target(at_most=FLAT), f"{first / MB:.2f} MB, then {last / MB:.2f} MB (PSS, one object each, one round)",
    )  # fmt: skip


def policies(run: RunContext) -> Iterator[Row]:
    """Bytes stored per byte logged, and PUTs per 1,000 invocations, for each policy."""
    run.s3.set_service_time(0)
    logged = COUNTED_INVOCATIONS * 5 * log_lines.LINE_BYTES
    try:
        for policy in POLICIES:
            run.progress(f"{policy}: {COUNTED_INVOCATIONS:,} invocations")
            before = run.s3.stored
            with Environment(run.extensions.logferry, run.s3, settings={"LOGFERRY_FLUSH": policy}) as environment:
                for _ in range(COUNTED_INVOCATIONS):
                    _short_invocation(environment)
                environment.shut_down()
            after = run.s3.wait_for_object(before, STORED_SECONDS)
            yield Row(
                f"{policy}: PUTs per {COUNTED_INVOCATIONS:,} consecutive invocations",
                exactly(after.objects - before.objects), "",
                detail=f"{(after.size - before.size) / logged:.3f} bytes stored per byte logged",
            )  # fmt: skip
    finally:
        run.s3.set_service_time(SERVICE_MS)


def _short_invocation(environment: Environment) -> None:
    """Run an invocation of five lines whose function takes no time."""
    request = environment.begin()
    environment.deliver(environment.opening(request, 5))
    environment.finish(request)
