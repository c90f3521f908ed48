"""Figures of a loaded environment: billed milliseconds, CPU time and latency of an invocation."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmark import log_lines
from benchmark.baseline import NOT_WORSE, against_baseline
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.s3 import SERVICE_MS
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.extensions import Extension
    from benchmark.run_context import RunContext

WARM_INVOCATIONS = 3
"""Number of invocations before a measurement."""
BATCH = 7
"""Invocations of a round: the figure of a round is their median, or their sum for CPU time."""
MORE_ROUNDS = 3
"""Factor of the usual number of rounds where the difference is far below the noise of the machine."""
HANDLER_MS = 50.0
"""CPU time of a handler, in milliseconds: long enough for a small relative noise."""
LINE_COUNTS = (1, 10, 100, 1_000, 10_000)
LINES_ROUNDS = 5
"""Rounds of each number of lines; CPU time varies little."""
POLICIES = {
    "invocation": PER_INVOCATION,
    "invocation, next-invocation": PER_INVOCATION | {"LOGFERRY_FLUSH_TIMING": "next-invocation"},
    "time": {"LOGFERRY_FLUSH": "time"},
    "size": {"LOGFERRY_FLUSH": "size"},
    "adaptive": {"LOGFERRY_FLUSH": "adaptive"},
}


def _warmed(stack: ExitStack, run: RunContext, extension: Extension, settings: dict[str, str]) -> Environment:
    environment = stack.enter_context(Environment(extension, run.s3, settings=settings))
    environment.warm_up(WARM_INVOCATIONS)
    environment.assert_no_output()
    return environment


def _all_warmed(stack: ExitStack, run: RunContext, settings: dict[str, str] = PER_INVOCATION) -> dict[str, Environment]:
    """Start the compared extensions; the naive shipper ignores the settings."""
    return run.compared(lambda extension: _warmed(stack, run, extension, settings))


def _bound(
    environments: dict[str, Environment], measure: Callable[[Environment], float]
) -> dict[str, Callable[[], float]]:
    """Return a sampler for each environment."""
    return {name: lambda environment=one: measure(environment) for name, one in environments.items()}  # type: ignore[misc]


def upload(run: RunContext) -> Iterator[Row]:
    """Time that an invocation with one small object adds, on a kept and on a new connection."""

    def post(environment: Environment) -> float:
        return statistics.median(environment.invoke().post for _ in range(BATCH)) * 1000

    def post_after_freeze(environment: Environment) -> float:
        samples = []
        for _ in range(BATCH):
            environment.while_frozen(run.s3.close_connections)
            samples.append(environment.invoke().post)
        return statistics.median(samples) * 1000

    for name, measure in (
        (f"added by one object, S3 at {SERVICE_MS:.0f} ms, kept connection", post),
        ("the same on a new connection, after S3 has closed the old one", post_after_freeze),
    ):
        with ExitStack() as stack:
            samples = run.interleaved(_bound(_all_warmed(stack, run), measure))
        yield Row(
            name, spread(samples["logferry"]), "ms", Target(at_most=SERVICE_MS + 2.5),
            f"naive {spread(samples['naive'])} ms",
        )  # fmt: skip
        yield from against_baseline(name, samples, "ms")


def invocation_cpu(run: RunContext) -> Iterator[Row]:
    """CPU time of an invocation with five lines, with and without an object."""

    def cpu(environment: Environment) -> float:
        before = environment.settle()
        for _ in range(BATCH):
            environment.invoke()
        return (environment.settle() - before) / BATCH * 1000

    with ExitStack() as stack:
        environments = _all_warmed(stack, run)
        environments["size"] = _warmed(stack, run, run.extensions.logferry, POLICIES["size"])
        samples = run.interleaved(_bound(environments, cpu))
    name = "CPU of an invocation with 5 lines and one object"
    yield Row(
        f"{name}, / naive", ratio(samples["logferry"], samples["naive"]), "x",
        Target(at_most=0.55), f"logferry {spread(samples['logferry'])} ms, naive {spread(samples['naive'])} ms",
    )  # fmt: skip
    yield from against_baseline(name, samples, "ms")
    yield Row(
        "CPU of an invocation without a flush, / naive", ratio(samples["size"], samples["naive"]), "x",
        detail=f"logferry {spread(samples['size'])} ms",
    )  # fmt: skip


def lines(run: RunContext) -> Iterator[Row]:
    """CPU time per line, from 1 to 10,000 lines per invocation."""

    def cpu_per_line(environment: Environment, count: int) -> float:
        before = environment.settle()
        _invoke_with_lines(environment, count)
        return (environment.settle() - before) / count * 1e6

    with ExitStack() as stack:
        environments = _all_warmed(stack, run)
        for count in LINE_COUNTS:
            samplers = _bound(environments, lambda one, count=count: cpu_per_line(one, count))  # type: ignore[misc]
            samples = run.interleaved(samplers, rounds=min(run.rounds, LINES_ROUNDS))
            baseline = f", baseline {spread(samples['baseline'])} us" if "baseline" in samples else ""
            yield Row(
                f"CPU per line, {count:,} {'line' if count == 1 else 'lines'} per invocation, one object",
                spread(samples["logferry"]), "us",
                detail=f"naive {spread(samples['naive'])} us{baseline}; {len(samples['logferry'])} rounds",
            )  # fmt: skip


def _invoke_with_lines(environment: Environment, count: int) -> None:
    """Run an invocation whose lines arrive in batches of the usual size."""
    request = environment.begin()
    environment.deliver(environment.opening(request, min(count, 1_000)))
    if count > 1_000:
        for body in log_lines.deliveries(environment.lines.records(count - 1_000, request)):
            environment.deliver(body)
    environment.finish(request)


def nothing_due(run: RunContext) -> Iterator[Row]:
    """Time that an invocation without a flush adds, for a function that ends at once."""

    def extended(environment: Environment) -> float:
        return statistics.median(environment.invoke().next_after for _ in range(BATCH)) * 1000

    with ExitStack() as stack:
        samplers = _bound(_all_warmed(stack, run, POLICIES["size"]), extended)
        samplers.pop("naive")
        samples = run.interleaved(samplers, rounds=MORE_ROUNDS * run.rounds)
    yield Row(
        "added without a flush", spread(samples["logferry"]), "ms", Target(at_most=1.0),
        "INVOKE to /event/next, as if the function ended at once",
    )  # fmt: skip
    yield from against_baseline("added without a flush", samples, "ms", NOT_WORSE)


def caller_latency(run: RunContext) -> Iterator[Row]:
    """Measure the latency of an invocation under every policy."""
    work = run.worker.work(HANDLER_MS)

    def alone() -> float:
        samples = []
        for _ in range(BATCH):
            work.begin()
            samples.append(work.finish())
        return statistics.median(samples) * 1000

    def latency(environment: Environment) -> float:
        return statistics.median(environment.invoke(work).latency for _ in range(BATCH)) * 1000

    with ExitStack() as stack:
        environments = {
            name: _warmed(stack, run, run.extensions.logferry, settings) for name, settings in POLICIES.items()
        }
        samplers = {"without": alone} | _bound(environments, latency) | {"without again": alone}
        samples = run.interleaved(samplers, rounds=MORE_ROUNDS * run.rounds)
    each = {name: ratio(samples[name], samples["without"]) for name in POLICIES}
    worst = max(each, key=lambda name: each[name].median)
    noise = ratio(samples["without again"], samples["without"])
    yield Row(
        f"caller's latency, handler of {HANDLER_MS:.0f} ms CPU, with / without, the worst policy", each[worst], "x",
        Target(at_most=1.01),
        ", ".join(f"{name} {value.median:.3f}" for name, value in each.items()) + f"; without / itself {noise}",
    )  # fmt: skip


def shutdown(run: RunContext) -> Iterator[Row]:
    """SHUTDOWN to the end of the process, with pending records."""

    def end(extension: Extension) -> Callable[[], float]:
        def ended() -> float:
            with Environment(extension, run.s3, settings=POLICIES["size"]) as environment:
                environment.warm_up()
                return environment.shut_down() * 1000

        return ended

    samples = run.interleaved(run.compared(end))
    yield Row(
        "SHUTDOWN to the end of the process, one object", spread(samples["logferry"]), "ms",
        Target(at_most=150), f"naive {spread(samples['naive'])} ms",
    )  # fmt: skip
    yield from against_baseline("SHUTDOWN to the end of the process", samples, "ms")
