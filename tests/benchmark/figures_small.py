"""Figures of a small function: 128 MB, which is 7 % of a core, set as a CPU quota.

Lambda shows such a function two cores and gives it 7 % of one: what warms up on the second core uses up the function's
own share, whatever its priority. Whether the init phase is throttled too is not known from outside, so there are two
figures: throttled from the start, and from the first INVOKE on. A third is of one whole core, which is 1,769 MB.
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
WHOLE_CORE = 1.0
WHOLE_CORE_INIT_MS = 30.0
WHOLE_CORE_HANDLER_MS = 60.0
"""An init that ends before the warm-up, or nothing would be left to disturb the handler."""
MORE_ROUNDS = 2
"""Times the usual number: a period of the quota is 20 ms, and the latency moves in such steps."""
NAIVE_ROUNDS = 3
"""It takes ten seconds each and is here for comparison only."""


def small_function(bench: Workbench) -> Iterator[Row]:
    """The first invocation of a function that has its CPU by a quota."""
    if reason := why_impossible():
        bench.say(f"left out: {reason}")
        return
    for throttled_init, when in ((True, "throttled from the start"), (False, "init not throttled")):
        yield _first_invocation(
            bench,
            f"first invocation's latency on 7 % of a core, {when}, with / without",
            share=SHARE_AT_128_MB, init_ms=INIT_MS, handler_ms=HANDLER_MS, throttled_init=throttled_init,
            target=Target(at_most=1.15),
        )  # fmt: skip
    yield _first_invocation(
        bench,
        "first invocation's latency on a quota of one core, with / without",
        share=WHOLE_CORE, init_ms=WHOLE_CORE_INIT_MS, handler_ms=WHOLE_CORE_HANDLER_MS, throttled_init=True,
    )  # fmt: skip


def _first_invocation(
    bench: Workbench,
    name: str,
    *,
    share: float,
    init_ms: float,
    handler_ms: float,
    throttled_init: bool,
    target: Target | None = None,
) -> Row:
    init, handler = bench.burner.work(init_ms), bench.burner.work(handler_ms)
    with Quota(share) as quota:
        quota.add(bench.burner.pid)

        def begin() -> None:
            if throttled_init:
                quota.impose()

        def without() -> tuple[float, float]:
            begin()
            init.begin()
            init.finish()
            quota.impose()
            handler.begin()
            latency = handler.finish()
            quota.lift()
            return latency * 1000, 0.0

        def beside(rival: Rival) -> Callable[[], tuple[float, float]]:
            def first() -> tuple[float, float]:
                begin()
                try:
                    with Environment(rival, bench.s3, quota=quota, on_register=init.begin) as environment:
                        init.finish()
                        quota.impose()
                        invoked = environment.invoke(handler)
                        return invoked.latency * 1000, invoked.post * 1000
                finally:
                    quota.lift()

            return first

        takers = {"without": without, "logferry": beside(bench.rivals.logferry)}
        taken = bench.turns(takers, rounds=MORE_ROUNDS * bench.rounds)
        naive = bench.turns({"naive": beside(bench.rivals.naive)}, rounds=NAIVE_ROUNDS, discard=False)["naive"]
        quota.expel(bench.burner.pid)
    ours, alone = [latency for latency, _ in taken["logferry"]], [latency for latency, _ in taken["without"]]
    return Row(
        name, ratio(ours, alone), "x", target,
        f"with {spread(ours)} ms, without {spread(alone)} ms; naive {spread([latency for latency, _ in naive])} ms; "
        f"held after its end {spread([held for _, held in taken['logferry']])} ms, its object included",
    )  # fmt: skip
