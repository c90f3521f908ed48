"""Figures of the function's own events: CPU time of logferry with the intake open, and for each event."""

from __future__ import annotations

import http.client
import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmark.environment import PER_INVOCATION, Environment
from benchmark.statistic import Row, Target, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.run_context import RunContext

EVENTS = {"LOGFERRY_EVENTS": "true", "LOGFERRY_EVENTS_LIMIT": "100000"}
WITHOUT_FLUSH = {"LOGFERRY_FLUSH": "size"}
WARM_INVOCATIONS = 3
BATCH = 7
"""Invocations of a round."""
ROUNDS_FACTOR = 3
"""Factor of the usual number of rounds, because the difference is far below the noise of the machine."""
EVENTS_OF_A_ROUND = 1_000
LINE = json.dumps({"event": "order placed", "n": 1, "pid": 1, "text": "x" * 240, "requestId": "r"}).encode() + b"\n"
"""An event of about 300 bytes."""


def _warmed(stack: ExitStack, run: RunContext, settings: dict[str, str]) -> Environment:
    environment = stack.enter_context(Environment(run.extensions.logferry, run.s3, settings=settings))
    environment.warm_up(WARM_INVOCATIONS)
    environment.assert_no_output()
    return environment


def events(run: RunContext) -> Iterator[Row]:
    """CPU time of an invocation without events, intake open / closed, and of one event on each path."""
    yield from _intake_open(run, "without a flush", WITHOUT_FLUSH)
    yield from _intake_open(run, "with one object", PER_INVOCATION)
    yield from _each_event(run)


def _intake_open(run: RunContext, name: str, settings: dict[str, str]) -> Iterator[Row]:
    def sampler(environment: Environment) -> Callable[[], float]:
        def cpu() -> float:
            before = environment.settle()
            for _ in range(BATCH):
                environment.invoke()
            return (environment.settle() - before) / BATCH * 1000

        return cpu

    with ExitStack() as stack:
        samplers = {
            "closed": sampler(_warmed(stack, run, settings)),
            "open": sampler(_warmed(stack, run, settings | EVENTS)),
        }
        samples = run.interleaved(samplers, rounds=ROUNDS_FACTOR * run.rounds)
    yield Row(
        f"CPU of an invocation {name} and without events, intake open / closed",
        ratio(samples["open"], samples["closed"]), "x", Target(at_most=1.05),
        f"closed {spread(samples['closed'])} ms, open {spread(samples['open'])} ms",
    )  # fmt: skip


def _each_event(run: RunContext) -> Iterator[Row]:
    """CPU time of logferry for each event; the sender's CPU time is not in it."""
    with ExitStack() as stack:
        environment = _warmed(stack, run, WITHOUT_FLUSH | EVENTS)
        port = environment.listener_port
        pipe = os.open(environment.spool / "events", os.O_WRONLY)
        stack.callback(os.close, pipe)

        def measured(send: Callable[[], None]) -> Callable[[], float]:
            def cpu() -> float:
                before = environment.settle()
                request = environment.begin()
                send()
                environment.finish(request)
                return (environment.settle() - before) / EVENTS_OF_A_ROUND * 1e6

            return cpu

        def written() -> None:
            for _ in range(EVENTS_OF_A_ROUND):
                os.write(pipe, LINE)

        def posted() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            for _ in range(EVENTS_OF_A_ROUND):
                connection.request("POST", "/events", LINE)
                connection.getresponse().read()
            connection.close()

        def posted_at_once() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", "/events", LINE * EVENTS_OF_A_ROUND)
            connection.getresponse().read()
            connection.close()

        samplers = {
            "through the pipe": measured(written),
            "in requests of their own": measured(posted),
            "in one request": measured(posted_at_once),
        }
        samples = run.interleaved(samplers)
    for name, values in samples.items():
        yield Row(f"CPU of logferry for each event of {EVENTS_OF_A_ROUND:,}, {name}", spread(values), "us")
