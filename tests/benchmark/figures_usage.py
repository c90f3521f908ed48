"""Figures of the resource usage: the CPU time that it adds to an invocation, and the first one of a small function."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmark.environment import PER_INVOCATION, Environment
from benchmark.figures_small_function import HANDLER_MS, INIT_MS
from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.run_context import RunContext

WARM_INVOCATIONS = 3
"""Number of invocations before a measurement."""
BATCH = 15
"""Invocations of a round; the figure is their CPU time."""
SPACED = 4
"""Invocations of a round with a complete sample for each."""
SPACE_SECONDS = 1.05
"""Time between two of them, in seconds: longer than that between two complete samples."""
USAGE = {"LOGFERRY_USAGE": "true"}
WITHOUT_FLUSH = {"LOGFERRY_FLUSH": "size"}
IDLE_PROCESS = ["sleep", "3600"]
"""Process that is the runtime for the samples: its memory, descriptors and clock are read."""
CASES = (
    ("one object", PER_INVOCATION, Target(at_most=1.05)),
    ("nothing due", WITHOUT_FLUSH, Target(at_most=1.25)),
)


def usage_cpu(run: RunContext) -> Iterator[Row]:
    """CPU time of an invocation with and without usage, with an object and without a flush.

    The files of /proc are read once a second. The last row has one invocation a second, so each reads them.
    """

    def cpu(environment: Environment) -> Callable[[], float]:
        def per_invocation() -> float:
            before = environment.settle()
            for _ in range(BATCH):
                environment.invoke()
            return (environment.settle() - before) / BATCH * 1000

        return per_invocation

    for name, settings, target in CASES:
        with _environments(run, settings) as environments:
            samples = run.interleaved({case: cpu(each) for case, each in environments.items()})
        yield _row(name, samples, target)
    with _environments(run, WITHOUT_FLUSH) as environments:
        rounds = run.interleaved({"both": lambda: _spaced(environments)})["both"]
    yield _row("nothing due, one invocation a second", {case: [each[case] for each in rounds] for case in rounds[0]})


def _spaced(environments: dict[str, Environment]) -> dict[str, float]:
    """Return the CPU time of an invocation in each environment, in milliseconds, with pauses between them."""
    before = {case: each.settle() for case, each in environments.items()}
    for _ in range(SPACED):
        time.sleep(SPACE_SECONDS)
        for environment in environments.values():
            environment.invoke()
    return {case: (each.settle() - before[case]) / SPACED * 1000 for case, each in environments.items()}


def _row(name: str, samples: dict[str, list[float]], target: Target | None = None) -> Row:
    return Row(
        f"CPU of an invocation with 5 lines, {name}, usage on / off", ratio(samples["on"], samples["off"]), "x",
        target, f"on {spread(samples['on'])} ms, off {spread(samples['off'])} ms",
    )  # fmt: skip


@contextmanager
def _environments(run: RunContext, settings: dict[str, str]) -> Iterator[dict[str, Environment]]:
    """Provide two warm environments, without and with usage, and a runtime."""
    with ExitStack() as stack:
        stack.enter_context(_runtime())
        found = {}
        for case, added in (("off", {}), ("on", USAGE)):
            environment = Environment(run.extensions.logferry, run.s3, settings={**settings, **added})
            found[case] = stack.enter_context(environment)
            environment.warm_up(WARM_INVOCATIONS)
            environment.assert_no_output()
        yield found


def usage_first_invocation(run: RunContext) -> Iterator[Row]:
    """Latency of the first invocation at 7 % of a core, with and without usage."""
    if reason := why_impossible():
        run.progress(f"skipped: {reason}")
        return
    init, handler = run.worker.work(INIT_MS), run.worker.work(HANDLER_MS)
    with _runtime(), Quota(SHARE_AT_128_MB) as quota:
        quota.add(run.worker.pid)

        def first(settings: dict[str, str]) -> Callable[[], float]:
            def latency() -> float:
                quota.impose()
                try:
                    with Environment(
                        run.extensions.logferry, run.s3, settings=settings, quota=quota, on_register=init.begin
                    ) as environment:
                        init.finish()
                        return environment.invoke(handler).latency * 1000
                finally:
                    quota.lift()

            return latency

        samples = run.interleaved({"off": first({}), "on": first(USAGE), "off again": first({})})
        quota.remove(run.worker.pid)
    yield Row(
        "latency of the first invocation at 7 % of a core, usage on / off", ratio(samples["on"], samples["off"]), "x",
        Target(at_most=1.15),
        f"on {spread(samples['on'])} ms, off {spread(samples['off'])} ms; "
        f"off / itself {ratio(samples['off again'], samples['off'])}",
    )  # fmt: skip


@contextmanager
def _runtime() -> Iterator[None]:
    """Run a process with the variable that identifies a runtime."""
    variables = {"PATH": os.defpath, "_HANDLER": "app.handler"}
    with subprocess.Popen(IDLE_PROCESS, env=variables) as process:
        try:
            yield
        finally:
            process.kill()
