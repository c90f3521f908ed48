"""Figures of a warm environment: what an invocation pays, in billed milliseconds, CPU and its caller's time."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmark.environment import PER_INVOCATION, Environment
from benchmark.s3 import SERVICE_MS
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.rivals import Rival
    from benchmark.workbench import Workbench

WARM_INVOCATIONS = 3
"""Before anything is measured."""
BATCH = 7
"""Invocations in a round; the round's figure is their median, or their sum for CPU."""
MORE_ROUNDS = 3
"""Times the usual number where the difference is far smaller than the machine's noise."""
HANDLER_MS = 50.0
"""Of computing, for the caller's latency: long enough that the machine's noise is small beside it."""
POLICIES = {
    "invocation": PER_INVOCATION,
    "invocation, beside": PER_INVOCATION | {"LOGFERRY_FLUSH_TIMING": "next-invocation"},
    "time": {"LOGFERRY_FLUSH": "time"},
    "size": {"LOGFERRY_FLUSH": "size"},
    "adaptive": {"LOGFERRY_FLUSH": "adaptive"},
}


def _warmed(stack: ExitStack, bench: Workbench, rival: Rival, settings: dict[str, str]) -> Environment:
    environment = stack.enter_context(Environment(rival, bench.s3, settings=settings))
    environment.warm_up(WARM_INVOCATIONS)
    environment.insist_on_silence()
    return environment


def upload(bench: Workbench) -> Iterator[Row]:
    """What an invocation with one small object adds, on a kept connection and on a new one."""

    def posts(environment: Environment) -> float:
        return statistics.median(environment.invoke().post for _ in range(BATCH)) * 1000

    def posts_after_freeze(environment: Environment) -> float:
        taken = []
        for _ in range(BATCH):
            environment.frozen(bench.s3.close_connections)
            taken.append(environment.invoke().post)
        return statistics.median(taken) * 1000

    with ExitStack() as stack:
        ours = _warmed(stack, bench, bench.rivals.logferry, PER_INVOCATION)
        naive = _warmed(stack, bench, bench.rivals.naive, {})
        takers = {
            "logferry": lambda: posts(ours),
            "naive": lambda: posts(naive),
            "logferry, new connection": lambda: posts_after_freeze(ours),
            "naive, new connection": lambda: posts_after_freeze(naive),
        }
        taken = bench.turns(takers)
    naive_warm = spread(taken["naive"])
    yield Row(
        f"added after the invocation, one small object, S3 answering in {SERVICE_MS:.0f} ms", spread(taken["logferry"]),
        "ms", Target(at_most=SERVICE_MS + 3), f"naive {naive_warm} ms",
    )  # fmt: skip
    yield Row(
        "the same on a new connection, S3 having closed the old one", spread(taken["logferry, new connection"]), "ms",
        Target(at_most=naive_warm.median + 2), f"naive {spread(taken['naive, new connection'])} ms",
    )  # fmt: skip


def invocation_cpu(bench: Workbench) -> Iterator[Row]:
    """CPU of an invocation with five lines and one object."""

    def cpu(environment: Environment) -> float:
        before = environment.settle()
        for _ in range(BATCH):
            environment.invoke()
        return (environment.settle() - before) / BATCH * 1000

    with ExitStack() as stack:
        ours = _warmed(stack, bench, bench.rivals.logferry, PER_INVOCATION)
        naive = _warmed(stack, bench, bench.rivals.naive, {})
        quiet = _warmed(stack, bench, bench.rivals.logferry, POLICIES["size"])
        taken = bench.turns({"logferry": lambda: cpu(ours), "naive": lambda: cpu(naive), "size": lambda: cpu(quiet)})
    yield Row(
        "CPU of an invocation with 5 lines and one object, beside naive", ratio(taken["logferry"], taken["naive"]), "x",
        Target(at_most=0.65), f"logferry {spread(taken['logferry'])} ms, naive {spread(taken['naive'])} ms",
    )  # fmt: skip
    yield Row(
        "CPU of an invocation with which nothing is due, beside naive", ratio(taken["size"], taken["naive"]), "x",
        detail=f"logferry {spread(taken['size'])} ms",
    )  # fmt: skip


def nothing_due(bench: Workbench) -> Iterator[Row]:
    """What an invocation adds when no flush is due, were the function over at once."""

    def held(environment: Environment) -> float:
        return statistics.median(environment.invoke().next_after for _ in range(BATCH)) * 1000

    with ExitStack() as stack:
        ours = _warmed(stack, bench, bench.rivals.logferry, POLICIES["size"])
        taken = bench.turns({"logferry": lambda: held(ours)}, rounds=MORE_ROUNDS * bench.rounds)["logferry"]
    yield Row(
        "added when no flush is due", spread(taken), "ms", Target(at_most=1.0),
        "INVOKE to /event/next, as if the function were over at once",
    )  # fmt: skip


def caller(bench: Workbench) -> Iterator[Row]:
    """The caller's latency under every policy."""
    work = bench.burner.work(HANDLER_MS)

    def alone() -> float:
        taken = []
        for _ in range(BATCH):
            work.begin()
            taken.append(work.finish())
        return statistics.median(taken) * 1000

    def beside(environment: Environment) -> Callable[[], float]:
        return lambda: statistics.median(environment.invoke(work).latency for _ in range(BATCH)) * 1000

    with ExitStack() as stack:
        takers: dict[str, Callable[[], float]] = {"without": alone}
        for name, settings in POLICIES.items():
            takers[name] = beside(_warmed(stack, bench, bench.rivals.logferry, settings))
        taken = bench.turns(takers | {"without again": alone}, rounds=MORE_ROUNDS * bench.rounds)
    each = {name: ratio(taken[name], taken["without"]) for name in POLICIES}
    worst = max(each, key=lambda name: each[name].median)
    noise = ratio(taken["without again"], taken["without"])
    yield Row(
        f"caller's latency, handler of {HANDLER_MS:.0f} ms CPU, with / without, the worst policy", each[worst], "x",
        Target(at_most=1.01),
        ", ".join(f"{name} {value.median:.3f}" for name, value in each.items()) + f"; without, beside itself {noise}",
    )  # fmt: skip


def shutdown(bench: Workbench) -> Iterator[Row]:
    """SHUTDOWN to the end of the process, with something left to ship."""

    def end(rival: Rival) -> Callable[[], float]:
        def ended() -> float:
            with Environment(rival, bench.s3, settings=POLICIES["size"]) as environment:
                environment.warm_up()
                return environment.shut_down() * 1000

        return ended

    taken = bench.turns({"logferry": end(bench.rivals.logferry), "naive": end(bench.rivals.naive)})
    yield Row(
        "SHUTDOWN to the end of the process, one object to ship", spread(taken["logferry"]), "ms",
        Target(at_most=300), f"naive {spread(taken['naive'])} ms",
    )  # fmt: skip
