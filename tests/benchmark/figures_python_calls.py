"""Figures of the calls of a Python function: what the hook adds to a handler, to a call and to a cold start.

A hooked function has the hook and a pipe, and no extension: the extension reads the pipe when the function does not
run. Without an extension, the hook itself decides the figure.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmark.python_function import Caller, ColdStart, EventPipe, calls_server
from benchmark.statistic import Row, Spread, Target, difference, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.run_context import RunContext

CALLS = 10
"""Calls of a handler."""
RESPONSE_MS = 1.0
HANDLERS = 20
"""Invocations of a round."""
TIGHT_CALLS = 1_000
"""Calls of a round in a loop without a pause. Their lines fit into the pipe."""
EVENTS = 2_000
MORE_ROUNDS = 3
"""Factor of the usual number of rounds, because a start is short and has the largest relative noise."""
OPENTELEMETRY_MODES = ("plain", "hooked", "opentelemetry", "opentelemetry-dropped")
HANDLER_TARGETS = {"http.client": 1.15, "boto3": 1.05}
FUNCTIONS = {
    "without an HTTP client": "def handler(event, context): pass\n",
    "with http.client": "import urllib.request\ndef handler(event, context): pass\n",
    "with boto3": "import boto3\nclient = boto3.client('s3')\ndef handler(event, context): pass\n",
}
"""Code of the functions of the cold start."""


def _callers(
    stack: ExitStack, run: RunContext, client: str, *, delay_ms: float, modes: tuple[str, ...] = ("plain", "hooked")
) -> dict[str, Caller]:
    port = stack.enter_context(calls_server(delay_ms))
    pipe = EventPipe(run.scratch / f"spool-{client}-{delay_ms:g}")
    stack.callback(pipe.close)
    return {mode: stack.enter_context(Caller(client, port, mode, pipe)) for mode in modes}


def _batches(callers: dict[str, Caller], calls: int) -> dict[str, Callable[[], tuple[float, float]]]:
    return {mode: lambda caller=caller: caller.run(calls) for mode, caller in callers.items()}  # type: ignore[misc]


def handler(run: RunContext) -> Iterator[Row]:
    """Duration of a handler with ten calls to a server that responds after 1 ms."""
    for client, target in HANDLER_TARGETS.items():
        with ExitStack() as stack:
            callers = _callers(stack, run, client, delay_ms=RESPONSE_MS)
            samples = run.interleaved(_batches(callers, HANDLERS * CALLS))
            assert callers["hooked"].lines > 0
            assert callers["plain"].lines == 0
        wall = {mode: [wall / HANDLERS * 1000 for wall, _ in values] for mode, values in samples.items()}
        yield Row(
            f"handler with ten calls of {client}, hooked / plain", ratio(wall["hooked"], wall["plain"]), "x",
            Target(at_most=target), f"hooked {spread(wall['hooked'])} ms, plain {spread(wall['plain'])} ms",
        )  # fmt: skip


def call_cpu(run: RunContext) -> Iterator[Row]:
    """CPU time that the hook adds to a call of urllib3, and what OpenTelemetry's instrumentation adds to it.

    OpenTelemetry queues its spans for an exporter that discards them. Its other row has no exporter.
    """
    with ExitStack() as stack:
        callers = _callers(stack, run, "urllib3", delay_ms=0, modes=OPENTELEMETRY_MODES)
        samples = run.interleaved(_batches(callers, TIGHT_CALLS), rounds=MORE_ROUNDS * run.rounds)
    cpu = {mode: [cpu / TIGHT_CALLS * 1e6 for _, cpu in values] for mode, values in samples.items()}
    hook = difference(cpu["hooked"], cpu["plain"])
    for mode, name, target in (
        ("opentelemetry", "OpenTelemetry", Target(at_most=0.25)),
        ("opentelemetry-dropped", "OpenTelemetry without an exporter", None),
    ):
        other = difference(cpu[mode], cpu["plain"])
        yield Row(
            f"CPU added to a call of urllib3, hook / {name}", _quotient(hook, other), "x", target,
            f"hook {hook} us, OpenTelemetry {other} us, plain {spread(cpu['plain'])} us",
        )  # fmt: skip
    for client in ("http.client", "requests", "boto3"):
        with ExitStack() as stack:
            samples = run.interleaved(_batches(_callers(stack, run, client, delay_ms=0), TIGHT_CALLS))
        cpu = {mode: [cpu / TIGHT_CALLS * 1e6 for _, cpu in values] for mode, values in samples.items()}
        yield Row(
            f"CPU added to a call of {client}", difference(cpu["hooked"], cpu["plain"]), "us",
            detail=f"hooked {spread(cpu['hooked'])} us, plain {spread(cpu['plain'])} us",
        )  # fmt: skip


def _quotient(above: Spread, below: Spread) -> Spread:
    """Return the quotient of two differences; its spread is that of the numerator."""
    return Spread(above.median / below.median, above.low / below.median, above.high / below.median)


def event_cpu(run: RunContext) -> Iterator[Row]:
    """CPU time of an event in the function, through the pipe and through a kept HTTP connection."""
    with ExitStack() as stack:
        port = stack.enter_context(calls_server(0))
        pipe = EventPipe(run.scratch / "spool-events")
        stack.callback(pipe.close)
        callers = {client: stack.enter_context(Caller(client, port, "plain", pipe)) for client in ("pipe", "post")}
        samples = run.interleaved(_batches(callers, EVENTS))
        assert callers["pipe"].lines == EVENTS * (run.rounds + 1)
    cpu = {client: [cpu / EVENTS * 1e6 for _, cpu in values] for client, values in samples.items()}
    yield Row(
        "CPU of an event of 300 bytes, pipe / HTTP", ratio(cpu["pipe"], cpu["post"]), "x", Target(at_most=0.05),
        f"pipe {spread(cpu['pipe'])} us, HTTP {spread(cpu['post'])} us",
    )  # fmt: skip


def cold_start(run: RunContext) -> Iterator[Row]:
    """Time from exec of a Python function to its first request for an invocation."""
    pipe = EventPipe(run.scratch / "spool-cold-start")
    start = ColdStart(run.scratch, pipe)
    for name, code in FUNCTIONS.items():
        samplers = {mode: lambda mode=mode: start.start(mode, code) for mode in start.modes}  # noqa: B023
        samples = run.interleaved(samplers, rounds=MORE_ROUNDS * run.rounds)
        plain, *hooked = start.modes
        for mode in hooked:
            for unit, values in (("", 0), (" in CPU time", 1)):
                ms = {each: [one[values] * 1000 for one in samples[each]] for each in (plain, mode)}
                yield Row(
                    f"cold start{unit} of a Python function {name}, {mode} / plain", ratio(ms[mode], ms[plain]), "x",
                    Target(at_most=1.03) if mode == "hooked" and not unit else None,
                    f"hooked {spread(ms[mode])} ms, plain {spread(ms[plain])} ms",
                )  # fmt: skip
    pipe.close()
