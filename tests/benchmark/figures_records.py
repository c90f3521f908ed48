"""Figures of the processing of records: selection, masking, and compression, relative to a run without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmark import log_lines
from benchmark.environment import Environment
from benchmark.figures_throughput import LARGE_SEGMENTS, MB, OUTSTANDING_RECORDS, STORED_SECONDS
from benchmark.statistic import Row, Target, exactly, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmark.run_context import RunContext

VOLUME_BYTES = 48 * MB
RULES = {"LOGFERRY_EXCLUDE": "GET /health", "LOGFERRY_MASK": "email,ipv4"}
"""One expression and two presets. No line matches, as almost all lines of a service."""
ZSTD = {"LOGFERRY_COMPRESSION": "zstd"}
LINES = 20_000
"""Number of different lines."""


class _Ingested(NamedTuple):
    cpu_per_gigabyte: float
    stored_per_byte: float
    missing: int


def processing(run: RunContext) -> Iterator[Row]:
    """CPU time and stored bytes for a volume of lines, with and without rules, and with each compression."""
    generated = log_lines.deliveries(log_lines.Lines().records(LINES, log_lines.REQUEST_ID))
    bodies = [(body, body.count(b'"type":"function"')) for body in generated]

    def take(settings: Mapping[str, str]) -> _Ingested:
        with Environment(run.extensions.logferry, run.s3, settings=LARGE_SEGMENTS | dict(settings)) as environment:
            environment.warm_up()
            cpu, stored = environment.settle(), run.s3.stored
            request = environment.begin()
            environment.deliver(environment.opening(request, 0))
            sent = records = number = 0
            while sent < VOLUME_BYTES:
                body, lines = bodies[number % len(bodies)]
                environment.deliver(log_lines.numbered(body, number))
                number, sent, records = number + 1, sent + len(body), records + lines + 1
                run.s3.wait_for(stored.records + records - OUTSTANDING_RECORDS, STORED_SECONDS)
            environment.finish(request)
            used = environment.settle() - cpu
            after = run.s3.stored
            # The previous report, the start and the end of this invocation are records too.
            missing = stored.records + records + 3 - after.records
            return _Ingested(used / (sent / 1e9), (after.size - stored.size) / sent, missing)

    samples = run.interleaved({"plain": lambda: take({}), "rules": lambda: take(RULES), "zstd": lambda: take(ZSTD)})
    cpu = {name: [each.cpu_per_gigabyte for each in taken] for name, taken in samples.items()}
    size = {name: [each.stored_per_byte for each in taken] for name, taken in samples.items()}
    yield Row(
        "CPU per GB with one exclude expression and two masking presets, / without", ratio(cpu["rules"], cpu["plain"]),
        "x", Target(at_most=2), f"{spread(cpu['rules'])} s/GB, {spread(cpu['plain'])} s/GB",
    )  # fmt: skip
    yield Row(
        "CPU per GB with zstd, / gzip", ratio(cpu["zstd"], cpu["plain"]), "x",
        detail=f"{spread(cpu['zstd'])} s/GB, {spread(cpu['plain'])} s/GB",
    )  # fmt: skip
    yield Row(
        "bytes stored with zstd, / gzip", ratio(size["zstd"], size["plain"]), "x",
        detail=f"{spread(size['zstd'])} and {spread(size['plain'])} bytes for a byte delivered",
    )  # fmt: skip
    worst = max(each.missing for taken in samples.values() for each in taken)
    yield Row("records lost by these, worst round", exactly(worst), "", Target(at_most=0))
