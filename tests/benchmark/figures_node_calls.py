"""Figures of the calls of a Node.js function: what the hook adds to a handler, to a call and to a cold start.

A hooked function has the hook and a pipe, and no extension: the extension reads the pipe when the function does not
run. Without an extension, the hook itself decides the figure.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmark.node_function import Caller, ColdStart, EventPipe, calls_server
from benchmark.statistic import Row, Spread, Target, difference, ratio, spread
from support.npm_packages import CLIENTS, modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.run_context import RunContext

CALLS = 10
"""Calls of a handler."""
RESPONSE_MS = 1.0
HANDLERS = 20
"""Invocations of a round."""
TIGHT_CALLS = 2_000
"""Calls of a round in a loop without a pause. Their lines fit into the pipe."""
MORE_ROUNDS = 5
"""Factor of the usual number of rounds: the cost of a hook is small against the noise of a machine."""
HOOK_MODES = ("plain", "hooked")
OPENTELEMETRY_MODES = (*HOOK_MODES, "opentelemetry", "opentelemetry-dropped")


def _node(run: RunContext) -> str:
    found = shutil.which("node")
    if found is None:
        run.progress("skipped: no node")
    return found or ""


def _callers(
    stack: ExitStack, run: RunContext, client: str, *, delay_ms: float, modes: tuple[str, ...] = HOOK_MODES
) -> dict[str, Caller]:
    node = _node(run)
    port = stack.enter_context(calls_server(node, delay_ms))
    pipe = EventPipe(run.scratch / f"spool-node-{client}-{delay_ms:g}-{len(modes)}")
    stack.callback(pipe.close)
    return {mode: stack.enter_context(Caller(node, client, port, mode, pipe)) for mode in modes}


def _batches(callers: dict[str, Caller], calls: int) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return a sampler for each caller. The first batch is not measured: Node.js compiles what runs often."""
    for caller in callers.values():
        caller.run(calls)
    return {mode: lambda caller=caller: caller.run(calls) for mode, caller in callers.items()}  # type: ignore[misc]


def handler(run: RunContext) -> Iterator[Row]:
    """Duration of a handler with ten calls of node:http to a server that responds after 1 ms."""
    if not _node(run):
        return
    with ExitStack() as stack:
        samples = run.interleaved(_batches(_callers(stack, run, "http", delay_ms=RESPONSE_MS), HANDLERS * CALLS))
    wall = {mode: [wall / HANDLERS * 1000 for wall, _ in values] for mode, values in samples.items()}
    yield Row(
        "handler with ten calls of node:http, hooked / plain", ratio(wall["hooked"], wall["plain"]), "x",
        Target(at_most=1.1), f"hooked {spread(wall['hooked'])} ms, plain {spread(wall['plain'])} ms",
    )  # fmt: skip


def call_cpu(run: RunContext) -> Iterator[Row]:
    """CPU time that the hook adds to a call of node:http and of fetch, and what OpenTelemetry adds to it.

    OpenTelemetry serializes its spans for an exporter that discards them, because a line of the hook has been written
    too. Its other row has no exporter.
    """
    if not _node(run):
        return
    with ExitStack() as stack:
        callers = _callers(stack, run, "http", delay_ms=0, modes=OPENTELEMETRY_MODES)
        cpu = _cpu_of_a_call(run.interleaved(_batches(callers, TIGHT_CALLS), rounds=MORE_ROUNDS * run.rounds))
    hook = difference(cpu["hooked"], cpu["plain"])
    for mode, name, target in (
        ("opentelemetry", "OpenTelemetry", Target(at_most=0.25)),
        ("opentelemetry-dropped", "OpenTelemetry without an exporter", None),
    ):
        other = difference(cpu[mode], cpu["plain"])
        yield Row(
            f"CPU added to a call of node:http, hook / {name}", _quotient(hook, other), "x", target,
            f"hook {hook} us, OpenTelemetry {other} us, plain {spread(cpu['plain'])} us",
        )  # fmt: skip
    with ExitStack() as stack:
        callers = _callers(stack, run, "fetch", delay_ms=0)
        cpu = _cpu_of_a_call(run.interleaved(_batches(callers, TIGHT_CALLS)))
    yield Row(
        "CPU added to a call of fetch", difference(cpu["hooked"], cpu["plain"]), "us",
        detail=f"hooked {spread(cpu['hooked'])} us, plain {spread(cpu['plain'])} us",
    )  # fmt: skip


def _cpu_of_a_call(samples: dict[str, list[tuple[float, float]]]) -> dict[str, list[float]]:
    return {mode: [cpu / TIGHT_CALLS * 1e6 for _, cpu in values] for mode, values in samples.items()}


def _quotient(above: Spread, below: Spread) -> Spread:
    """Return the quotient of two differences; its spread is that of the numerator."""
    return Spread(above.median / below.median, above.low / below.median, above.high / below.median)


def cold_start(run: RunContext) -> Iterator[Row]:
    """Time from exec of a Node.js function to its first request for an invocation, with wrapper and hook."""
    node = _node(run)
    if not node:
        return
    pipe = EventPipe(run.scratch / "spool-node-cold-start")
    for number, (name, code) in enumerate(_functions(run).items()):
        start = ColdStart(node, run.scratch / f"node-cold-start-{number}", pipe, code)
        samplers = {mode: lambda mode=mode, start=start: start.start(mode) for mode in HOOK_MODES}
        samples = run.interleaved(samplers, rounds=MORE_ROUNDS * run.rounds)
        wall = {mode: [wall * 1000 for wall, _ in values] for mode, values in samples.items()}
        cpu = {mode: [cpu * 1000 for _, cpu in values] for mode, values in samples.items()}
        yield Row(
            f"cold start of a Node.js function {name}, hooked / plain", ratio(wall["hooked"], wall["plain"]), "x",
            Target(at_most=1.03), f"hooked {spread(wall['hooked'])} ms, plain {spread(wall['plain'])} ms",
        )  # fmt: skip
        yield Row(
            "the same in CPU time", ratio(cpu["hooked"], cpu["plain"]), "x",
            detail=f"hooked {spread(cpu['hooked'])} ms, plain {spread(cpu['plain'])} ms",
        )  # fmt: skip
    pipe.close()


def _functions(run: RunContext) -> dict[str, str]:
    """Return the code of the functions by name. Without npm there is only the first one."""
    functions = {"with node:https": "require('https');\nexports.handler = async (event) => event;\n"}
    if shutil.which("npm") is None:
        run.progress("without npm, no function with the AWS SDK")
        return functions
    sdk = modules(*CLIENTS) / "@aws-sdk/client-lambda"
    code = f"const {{ LambdaClient }} = require({json.dumps(str(sdk))});\nconst client = new LambdaClient({{}});\n"
    return functions | {"with the AWS SDK": f"{code}exports.handler = async (event) => event;\n"}
