"""Figures of a cold start: time to the first /event/next, CPU time and memory of startup, and its side effects.

The runtime starts after all extensions have registered. The time until then is therefore the serial part of a
cold start. Everything after it runs concurrently with the init of the runtime, which has priority.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import log_lines
from benchmark.baseline import NOT_WORSE, against_baseline
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.statistic import Row, Spread, Target, difference, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.extensions import Endpoint, Extension
    from benchmark.run_context import RunContext

INIT_MS = 300.0
"""CPU time of a runtime's init of medium size, in milliseconds."""
BATCH_INTERVAL_SECONDS = 0.025
"""Interval of batches, in seconds: the shortest buffering of the platform."""
STARTUP_SECONDS = 2.0
"""Duration of the measurement of responses, in seconds: longer than startup on a free core."""
STORED_SECONDS = 5.0
"""Maximum wait for an expected object, in seconds. An extension that has exited stores none and costs nothing."""
BY_NAME_ROUNDS = 5
"""Rounds of the endpoint by name, which has no target."""
START_ROUNDS = 3
"""Factor of the usual number of rounds, because a start is short and has the largest relative noise."""


def start(run: RunContext) -> Iterator[Row]:
    """Exec to the first /event/next."""
    extensions = run.extensions
    samplers = {
        "bare": lambda: _bare(extensions.bare),
        "logferry": lambda: _ready(extensions.logferry, run),
        "bare again": lambda: _bare(extensions.bare),
    }
    if c := extensions.c:
        samplers["C"] = lambda: _ready(c, run)
    if baseline := extensions.baseline:
        samplers["baseline"] = lambda: _ready(baseline, run)
    samples = run.interleaved(samplers, rounds=START_ROUNDS * run.rounds)
    naive = [wall * 1000 for wall, _ in run.interleaved({"naive": lambda: _ready(extensions.naive, run)})["naive"]]
    wall = {name: [w * 1000 for w, _ in values] for name, values in samples.items()}
    cpu = {name: [c * 1000 for _, c in values] for name, values in samples.items()}
    ready, bare = spread(wall["logferry"]), spread(wall["bare"])
    yield Row(
        "exec to first /event/next, / bare interpreter", ratio(wall["logferry"], wall["bare"]), "x",
        Target(at_most=1.1), f"logferry {ready} ms, bare {bare} ms",
    )  # fmt: skip
    yield Row(
        "the same in CPU time", ratio(cpu["logferry"], cpu["bare"]), "x", Target(at_most=1.1),
        f"logferry {spread(cpu['logferry'])} ms, bare {spread(cpu['bare'])} ms",
    )  # fmt: skip
    yield from against_baseline("exec to first /event/next", wall, "ms", NOT_WORSE)
    yield Row(
        "naive to first /event/next, / logferry", _quotient(spread(naive), ready), "x",
        Target(at_least=25), f"naive {spread(naive)} ms",
    )  # fmt: skip
    yield Row("noise of the machine: the bare interpreter / itself", ratio(wall["bare again"], wall["bare"]), "x")
    if extensions.c:
        yield Row("physical limit: C to first /event/next", spread(wall["C"]), "ms")


def _quotient(above: Spread, below: Spread) -> Spread:
    """Return the quotient of two figures whose samples were not interleaved."""
    return Spread(above.median / below.median, above.low / below.median, above.high / below.median)


def _bare(command: list[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of the interpreter from exec to exit."""
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, {"PATH": "/usr/bin:/bin"})
    _, _, usage = os.wait4(pid, 0)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def _ready(extension: Extension, run: RunContext) -> tuple[float, float]:
    """Return the wall seconds to the first /event/next, and the CPU seconds of the process that Lambda started."""
    with Environment(extension, run.s3) as environment:
        return environment.ready_seconds, environment.ready_cpu_seconds


@dataclass(frozen=True)
class Startup:
    """CPU time and memory of an extension until its first object is stored."""

    ready_cpu_ms: float
    object_cpu_ms: float
    memory_mb: float
    anonymous_mb: float


def start_and_store(
    run: RunContext, extension: Extension, *, endpoint: Endpoint | None = None
) -> Callable[[], Startup]:
    """Return a sampler: start, wait until the libraries are loaded, and store the object of one invocation."""

    def sample() -> Startup:
        with Environment(extension, run.s3, settings=PER_INVOCATION, endpoint=endpoint) as environment:
            cpu, before = environment.settle(), run.s3.stored
            environment.invoke()
            environment.assert_no_output()
            run.s3.wait_for_object(before, STORED_SECONDS)
            cpu_with_object, memory = environment.settle(), environment.memory()
            return Startup(cpu * 1000, cpu_with_object * 1000, memory.total / 1e6, memory.anonymous / 1e6)

    return sample


def startup_cost(run: RunContext) -> Iterator[Row]:
    """CPU time until the libraries are loaded and the first object is stored, and memory after it."""
    samples = run.interleaved(run.compared(lambda extension: start_and_store(run, extension)))
    rows: tuple[tuple[str, Callable[[Startup], float], str, Target | None], ...] = (
        ("CPU until the S3 client is ready", lambda s: s.ready_cpu_ms, "ms", Target(at_most=0.2)),
        ("CPU of the process group until the first object is stored", lambda s: s.object_cpu_ms, "ms",
         Target(at_most=0.18)),
        ("memory after the first upload (PSS of the process group)", lambda s: s.memory_mb, "MB", Target(at_most=0.45)),
        ("anonymous part of it, which cannot be reclaimed", lambda s: s.anonymous_mb, "MB", Target(at_most=0.35)),
    )  # fmt: skip
    for name, value, unit, target in rows:
        each = {key: [value(one) for one in startups] for key, startups in samples.items()}
        yield Row(
            f"{name}, / naive", ratio(each["logferry"], each["naive"]), "x", target,
            f"logferry {spread(each['logferry'])} {unit}, naive {spread(each['naive'])} {unit}",
        )  # fmt: skip
        yield from against_baseline(name, each, unit)


def endpoint_by_name(run: RunContext) -> Iterator[Row]:
    """Measure the first object of an endpoint with a host name and a CA bundle of the usual size.

    All other figures use an address and a bundle with one certificate, which hide the costs of both.
    """
    samples = run.interleaved(
        {
            "name": start_and_store(run, run.extensions.logferry, endpoint=run.s3.endpoint_by_name),
            "address": start_and_store(run, run.extensions.logferry),
        },
        rounds=min(run.rounds, BY_NAME_ROUNDS),
    )
    cpu = {key: [one.object_cpu_ms for one in startups] for key, startups in samples.items()}
    memory = {key: [one.memory_mb for one in startups] for key, startups in samples.items()}
    yield Row(
        "CPU until the first object is stored, added by a host name and a complete CA bundle",
        difference(cpu["name"], cpu["address"]), "ms",
        detail=f"with {spread(cpu['name'])} ms, without {spread(cpu['address'])} ms; "
        f"memory {spread(memory['name'])} MB, {spread(memory['address'])} MB",
    )  # fmt: skip


def shared_core_init(run: RunContext) -> Iterator[Row]:
    """Measure a runtime's init concurrently with startup, on one core."""
    work = run.worker.work(INIT_MS)
    with run.one_core() as core:

        def alone() -> float:
            work.begin()
            return work.finish() * 1000

        def concurrent(extension: Extension) -> Callable[[], float]:
            def init() -> float:
                with Environment(extension, run.s3, cpus=core, on_register=work.begin) as environment:
                    took = environment.registered_seconds + work.finish()
                    return max(took, environment.ready_seconds) * 1000

            return init

        samplers = {"without": alone} | run.compared(concurrent)
        if c := run.extensions.c:
            samplers["C"] = concurrent(c)
        samples = run.interleaved(samplers)
    added = {name: difference(values, samples["without"]) for name, values in samples.items() if name != "without"}
    yield Row(
        f"added to a runtime's init of {INIT_MS:.0f} ms CPU on one shared core", added.pop("logferry"), "ms",
        Target(at_most=45),
        f"with {spread(samples['logferry'])} ms, without {spread(samples['without'])} ms; "
        + ", ".join(f"{name} adds {value} ms" for name, value in added.items()),
    )  # fmt: skip


def responses_during_startup(run: RunContext) -> Iterator[Row]:
    """Measure the slowest response to a batch while the libraries are loaded, on two cores and on one busy core.

    Batches are served between the steps of the import. On a busy core each step waits for its time slices.
    """
    yield _slowest_response(run, "slowest response to a batch during startup, two cores", Target(at_most=35))
    work = run.worker.work(STARTUP_SECONDS * 1000)
    with run.one_core() as core:
        name = "the same on one core that the function keeps busy"
        yield _slowest_response(run, name, Target(at_most=60), cpus=core, on_register=work.begin, finish=work.finish)


def _slowest_response(
    run: RunContext,
    name: str,
    target: Target,
    *,
    cpus: set[int] | None = None,
    on_register: Callable[[], None] = lambda: None,
    finish: Callable[[], object] = lambda: None,
) -> Row:
    def slowest() -> float:
        lines = log_lines.Lines()
        with Environment(run.extensions.logferry, run.s3, cpus=cpus, on_register=on_register) as environment:
            worst, until = 0.0, time.perf_counter() + STARTUP_SECONDS
            while (now := time.perf_counter()) < until:
                worst = max(worst, environment.deliver(log_lines.delivery(lines.records(5, log_lines.REQUEST_ID))))
                time.sleep(max(0.0, now + BATCH_INTERVAL_SECONDS - time.perf_counter()))
        finish()
        return worst * 1000

    samples = run.interleaved({"logferry": slowest})["logferry"]
    return Row(
        name, spread(samples), "ms", target,
        f"a batch every {BATCH_INTERVAL_SECONDS * 1000:.0f} ms; worst round {max(samples):.1f} ms",
    )  # fmt: skip
