"""Figures of a cold start: the time to the first /event/next, what the warm-up costs and whom it disturbs, memory.

The runtime starts when every extension has registered, so the time up to there is the one part of a cold start that
nothing runs beside. What follows runs beside the runtime's own init and must give way to it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import log_lines
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.statistic import Row, Spread, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.rivals import Rival
    from benchmark.workbench import Workbench

INIT_MS = 300.0
"""Of computing, a runtime's init of middling size."""
EARLY_STEP_SECONDS = 0.025
"""The platform's shortest buffering."""
EARLY_SECONDS = 2.0
"""Longer than any warm-up on a free core."""
STORED_SECONDS = 5.0
"""A shipper that has died costs nothing and stores nothing: what it would have stored is waited for this long."""
START_ROUNDS = 3
"""Times the usual number: a start is short, and its noise is the largest of all."""


def start(bench: Workbench) -> Iterator[Row]:
    """Exec to the first /event/next."""
    rivals = bench.rivals
    takers = {
        "bare": lambda: _bare(rivals.bare),
        "logferry": lambda: _ready(rivals.logferry, bench),
        "bare again": lambda: _bare(rivals.bare),
    }
    if c := rivals.c:
        takers["C"] = lambda: _ready(c, bench)
    taken = bench.turns(takers, rounds=START_ROUNDS * bench.rounds)
    naive = [wall for wall, _ in bench.turns({"naive": lambda: _ready(rivals.naive, bench)})["naive"]]
    wall = {name: [w * 1000 for w, _ in values] for name, values in taken.items()}
    cpu = {name: [c * 1000 for _, c in values] for name, values in taken.items()}
    ready = spread(wall["logferry"])
    bare = spread(wall["bare"])
    yield Row(
        "exec to first /event/next, beside the bare interpreter", ratio(wall["logferry"], wall["bare"]), "x",
        Target(at_most=1.4), f"logferry {ready} ms, bare {bare} ms",
    )  # fmt: skip
    yield Row(
        "the same in CPU time", ratio(cpu["logferry"], cpu["bare"]), "x", Target(at_most=1.4),
        f"logferry {spread(cpu['logferry'])} ms, bare {spread(cpu['bare'])} ms",
    )  # fmt: skip
    yield Row(
        "naive to first /event/next, beside logferry", _quotient(spread([w * 1000 for w in naive]), ready), "x",
        Target(at_least=25), f"naive {spread([w * 1000 for w in naive])} ms",
    )  # fmt: skip
    yield Row("machine noise: the bare interpreter beside itself", ratio(wall["bare again"], wall["bare"]), "x")
    if rivals.c:
        yield Row("the physical limit: C to first /event/next", spread(wall["C"]), "ms")


def _quotient(above: Spread, below: Spread) -> Spread:
    """Of two samples that were not taken in turns."""
    return Spread(above.median / below.median, above.low / below.median, above.high / below.median)


def _bare(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of the interpreter from exec to exit."""
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, {"PATH": "/usr/bin:/bin"})
    _, _, usage = os.wait4(pid, 0)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def _ready(rival: Rival, bench: Workbench) -> tuple[float, float]:
    """Wall seconds to the first /event/next, and the CPU seconds that the process Lambda started used for it."""
    with Environment(rival, bench.s3) as environment:
        return environment.ready_seconds, environment.ready_cpu_seconds


@dataclass(frozen=True)
class _Warm:
    cpu: float
    cpu_with_object: float
    pss: float


def warm_up(bench: Workbench) -> Iterator[Row]:
    """CPU until warm, memory after the first upload."""
    rivals = bench.rivals

    def warm(rival: Rival) -> _Warm:
        with Environment(rival, bench.s3, settings=PER_INVOCATION) as environment:
            cpu, before = environment.settle(), bench.s3.stored
            environment.invoke()
            environment.insist_on_silence()
            bench.s3.wait_for_object(before, STORED_SECONDS)
            return _Warm(cpu * 1000, environment.settle() * 1000, environment.memory_bytes() / 1e6)

    taken = bench.turns({"logferry": lambda: warm(rivals.logferry), "naive": lambda: warm(rivals.naive)})
    ours, theirs = taken["logferry"], taken["naive"]
    cpu, cpu_naive = [w.cpu for w in ours], [w.cpu for w in theirs]
    yield Row(
        "CPU until the S3 client is ready, beside naive", ratio(cpu, cpu_naive), "x", Target(at_most=0.6),
        f"logferry {spread(cpu)} ms, naive {spread(cpu_naive)} ms",
    )  # fmt: skip
    cpu, cpu_naive = [w.cpu_with_object for w in ours], [w.cpu_with_object for w in theirs]
    yield Row(
        "CPU until the first object is stored, beside naive", ratio(cpu, cpu_naive), "x",
        detail=f"logferry {spread(cpu)} ms, naive {spread(cpu_naive)} ms",
    )  # fmt: skip
    pss, pss_naive = [w.pss for w in ours], [w.pss for w in theirs]
    yield Row(
        "memory after the first upload (PSS of all processes), beside naive", ratio(pss, pss_naive), "x",
        Target(at_most=0.8), f"logferry {spread(pss)} MB, naive {spread(pss_naive)} MB",
    )  # fmt: skip


def shared_core(bench: Workbench) -> Iterator[Row]:
    """A runtime's init beside the warm-up, all on one core."""
    work = bench.burner.work(INIT_MS)
    with bench.one_core() as core:

        def alone() -> float:
            work.begin()
            return work.finish() * 1000

        def beside(rival: Rival) -> float:
            with Environment(rival, bench.s3, cpus=core, on_register=work.begin) as environment:
                init = environment.registered_seconds + work.finish()
                return max(init, environment.ready_seconds) * 1000

        takers = {"without": alone, "logferry": lambda: beside(bench.rivals.logferry)}
        if c := bench.rivals.c:
            takers["C"] = lambda: beside(c)
        takers["naive"] = lambda: beside(bench.rivals.naive)
        taken = bench.turns(takers)
    others = ", ".join(f"{name} {ratio(taken[name], taken['without'])} x" for name in takers if name in ("C", "naive"))
    yield Row(
        f"a runtime's init of {INIT_MS:.0f} ms CPU on one shared core, with / without",
        ratio(taken["logferry"], taken["without"]), "x", Target(at_most=1.15),
        f"with {spread(taken['logferry'])} ms, without {spread(taken['without'])} ms; {others}",
    )  # fmt: skip


def early_deliveries(bench: Workbench) -> Iterator[Row]:
    """The slowest answer to a delivery while the libraries are loaded, also beside a function that keeps a core busy.

    There the thread that loads may hold the interpreter's lock and have to wait for its turn on the core.
    """
    yield _slowest_answer(bench, "slowest answer to a delivery while warming up")
    work = bench.burner.work(EARLY_SECONDS * 1000)
    with bench.one_core() as core:
        name = "the same on one core that the function keeps busy"
        yield _slowest_answer(bench, name, cpus=core, on_register=work.begin, finish=work.finish)


def _slowest_answer(
    bench: Workbench,
    name: str,
    *,
    cpus: set[int] | None = None,
    on_register: Callable[[], None] = lambda: None,
    finish: Callable[[], object] = lambda: None,
) -> Row:
    def slowest() -> float:
        lines = log_lines.Lines()
        with Environment(bench.rivals.logferry, bench.s3, cpus=cpus, on_register=on_register) as environment:
            worst, until = 0.0, time.perf_counter() + EARLY_SECONDS
            while (now := time.perf_counter()) < until:
                worst = max(worst, environment.deliver(log_lines.delivery(lines.records(5, log_lines.REQUEST_ID))))
                time.sleep(max(0.0, now + EARLY_STEP_SECONDS - time.perf_counter()))
        finish()
        return worst * 1000

    taken = bench.turns({"logferry": slowest})["logferry"]
    return Row(
        name, spread(taken), "ms", Target(at_most=60),
        f"one every {EARLY_STEP_SECONDS * 1000:.0f} ms; the worst of all rounds {max(taken):.1f} ms",
    )  # fmt: skip
