"""Figures of a small function: 128 MB, which is 7 % of a core, set as a CPU quota.

Lambda shows such a function two cores and gives it 7 % of one: what warms up on the second core uses up the function's
own share, whatever its priority. Whether the init phase is throttled too is not known from outside, so there are two
figures: throttled from the start, and from the first INVOKE on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.environment import Environment
from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.rivals import Rival
    from benchmark.workbench import Workbench

INIT_MS = 100.0
HANDLER_MS = 20.0
"""Of computing: on 7 % of a core a runtime's init of 1.4 s, and a handler of 0.3 s."""
NAIVE_ROUNDS = 3
"""It takes ten seconds each and is here for comparison only."""


def small_function(bench: Workbench) -> Iterator[Row]:
    """The first invocation of a 128 MB function."""
    if reason := why_impossible():
        bench.say(f"left out: {reason}")
        return
    for throttled_init in (True, False):
        yield _first_invocation(bench, throttled_init=throttled_init)


def _first_invocation(bench: Workbench, *, throttled_init: bool) -> Row:
    init, handler = bench.burner.work(INIT_MS), bench.burner.work(HANDLER_MS)
    with Quota(SHARE_AT_128_MB) as quota:
        quota.add(bench.burner.pid)

        def begin() -> None:
            if throttled_init:
                quota.impose()

        def without() -> float:
            begin()
            init.begin()
            init.finish()
            quota.impose()
            handler.begin()
            latency = handler.finish()
            quota.lift()
            return latency * 1000

        def beside(rival: Rival) -> Callable[[], float]:
            def first() -> float:
                begin()
                try:
                    with Environment(rival, bench.s3, quota=quota, on_register=init.begin) as environment:
                        init.finish()
                        quota.impose()
                        return environment.invoke(handler).latency * 1000
                finally:
                    quota.lift()

            return first

        taken = bench.turns({"without": without, "logferry": beside(bench.rivals.logferry)})
        naive = bench.turns({"naive": beside(bench.rivals.naive)}, rounds=NAIVE_ROUNDS, discard=False)["naive"]
        quota.expel(bench.burner.pid)
    when = "throttled from the start" if throttled_init else "init not throttled"
    ours, alone = taken["logferry"], taken["without"]
    return Row(
        f"first invocation's latency on 7 % of a core, {when}, with / without", ratio(ours, alone), "x",
        Target(at_most=1.15),
        f"with {spread(ours)} ms, without {spread(alone)} ms; naive {spread(naive)} ms",
    )  # fmt: skip
