"""Figures of small functions: a share of a core, set as a CPU quota.

At 128 MB Lambda provides two cores and 7 % of the time of one. Startup on the second core uses the share of the
function, independent of its priority. Whether the Init phase is throttled is unknown, so there are two figures:
throttled from the start, and from the first INVOKE on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.baseline import against_baseline
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.quota import SHARE_AT_128_MB, Quota, share_of, why_impossible
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.extensions import Extension
    from benchmark.run_context import RunContext

INIT_MS, HANDLER_MS = 100.0, 20.0
"""CPU time of init and handler, in milliseconds: on 7 % of a core an init of 1.4 s and a handler of 0.3 s."""
ONE_CORE_INIT_MS, ONE_CORE_HANDLER_MS = 30.0, 60.0
"""CPU time for a complete core, in milliseconds: the init ends before startup, which then meets the handler."""
NAIVE_ROUNDS = 2
"""Rounds of the naive shipper, which takes ten seconds each and has no target."""
MEMORY_SIZES = (128, 256, 512, 1024, 1769)
"""Memory sizes of functions, in MB, from the smallest to that of one complete core."""
SHARES_ROUNDS = 3
"""Rounds of each memory size: CPU time varies little, and a first invocation at 128 MB takes seconds."""
STORED_SECONDS = 60.0


def first_invocation(run: RunContext) -> Iterator[Row]:
    """Measure the latency and the extension of the first invocation at 7 % of a core, and its latency at one core."""
    if reason := why_impossible():
        run.progress(f"skipped: {reason}")
        return
    for throttled_init, condition, target in ((True, "init throttled", 0.25), (False, "init not throttled", 0.15)):
        yield from _first_invocation(
            run, f"7 % of a core, {condition}",
            share=SHARE_AT_128_MB, init_ms=INIT_MS, handler_ms=HANDLER_MS, throttled_init=throttled_init,
            latency_target=Target(at_most=1.15), extension_target=Target(at_most=target),
        )  # fmt: skip
    yield from _first_invocation(
        run, "a quota of one core",
        share=1.0, init_ms=ONE_CORE_INIT_MS, handler_ms=ONE_CORE_HANDLER_MS, throttled_init=True,
    )  # fmt: skip


def _first_invocation(
    run: RunContext,
    condition: str,
    *,
    share: float,
    init_ms: float,
    handler_ms: float,
    throttled_init: bool,
    latency_target: Target | None = None,
    extension_target: Target | None = None,
) -> Iterator[Row]:
    init, handler = run.worker.work(init_ms), run.worker.work(handler_ms)
    with Quota(share) as quota:
        quota.add(run.worker.pid)

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

        def with_extension(extension: Extension) -> Callable[[], tuple[float, float]]:
            def first() -> tuple[float, float]:
                begin()
                try:
                    with Environment(extension, run.s3, quota=quota, on_register=init.begin) as environment:
                        init.finish()
                        quota.impose()
                        invoked = environment.invoke(handler)
                        return invoked.latency * 1000, invoked.post * 1000
                finally:
                    quota.lift()

            return first

        samplers = {"without": without} | run.compared(with_extension)
        naive_sampler = {"naive": samplers.pop("naive")}
        samples = run.interleaved(samplers)
        naive = run.interleaved(naive_sampler, rounds=NAIVE_ROUNDS, discard=False)["naive"]
        quota.remove(run.worker.pid)
    latency = {name: [one for one, _ in pairs] for name, pairs in samples.items()}
    extended = {name: [one for _, one in pairs] for name, pairs in samples.items()}
    yield Row(
        f"latency of the first invocation at {condition}, with / without",
        ratio(latency["logferry"], latency["without"]), "x", latency_target,
        f"with {spread(latency['logferry'])} ms, without {spread(latency['without'])} ms; "
        f"naive {spread([one for one, _ in naive])} ms",
    )  # fmt: skip
    name = f"extension of the first invocation at {condition}"
    yield Row(
        name, spread(extended["logferry"]), "ms",
        detail=f"its object included; naive {spread([one for _, one in naive])} ms",
    )  # fmt: skip
    yield from against_baseline(name, extended, "ms", extension_target)


def cpu_shares(run: RunContext) -> Iterator[Row]:
    """CPU time and memory until the first object is stored, at the CPU shares of usual memory sizes."""
    if reason := why_impossible():
        run.progress(f"skipped: {reason}")
        return
    for megabytes in MEMORY_SIZES:
        with Quota(share_of(megabytes)) as quota:
            quota.impose()

            def sample(quota: Quota = quota) -> tuple[float, float, float, float]:
                before = run.s3.stored
                with Environment(run.extensions.logferry, run.s3, settings=PER_INVOCATION, quota=quota) as environment:
                    invoked = environment.invoke()
                    run.s3.wait_for_object(before, STORED_SECONDS)
                    cpu, memory = environment.settle(), environment.memory()
                return cpu * 1000, memory.total / 1e6, memory.anonymous / 1e6, invoked.post * 1000

            samples = run.interleaved({f"{megabytes} MB": sample}, rounds=min(run.rounds, SHARES_ROUNDS), discard=False)
        cpu, memory, anonymous, extended = map(list, zip(*samples[f"{megabytes} MB"], strict=True))
        yield Row(
            f"CPU until the first object is stored at {megabytes:,} MB ({share_of(megabytes):.0%} of a core)",
            spread(cpu), "ms",
            detail=f"memory {spread(memory)} MB, anonymous {spread(anonymous)} MB; first invocation extended by "
            f"{spread(extended)} ms; {len(cpu)} rounds",
        )  # fmt: skip
