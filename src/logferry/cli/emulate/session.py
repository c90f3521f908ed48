"""A function with the real extension in a local Lambda environment, from cold start to SHUTDOWN.

Design: `play` is a coroutine without output, so that the demo and the tests run the same session as
the command.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logferry.cli.console import progress
from logferry.cli.emulate.outcome import Outcome
from logferry.cli.emulate.own_records import keys_in, own_records_in
from logferry.cli.emulate.report import is_clipped, show_output, show_summary, show_timeline, show_verdict
from logferry.cli.run import argv
from logferry.emulator.environment_config import EnvironmentConfig
from logferry.emulator.lambda_service import Lambda

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from logferry.emulator.results import InvokeResult

EXTENSION = "logferry"


@dataclass(frozen=True)
class Session:
    """The function, its events, and the time between them."""

    function: Sequence[str]
    events: Sequence[Mapping[str, Any]]
    environment: Mapping[str, str]
    working_directory: Path
    launcher: Sequence[str] = field(default_factory=argv)
    interval_seconds: float = 0.0
    """Seconds between the end of an invocation and the next event. The environment is frozen
    meanwhile."""
    timeout_seconds: float = 3.0
    memory_mb: int = 128
    function_name: str = "sample"
    handler: str = "app.handler"
    log_format: str = "Text"
    initialization_type: str = "on-demand"
    concurrency: int = 1


def aws_variables() -> dict[str, str]:
    """Return the caller's AWS variables. They replace the function's role."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_") and "LAMBDA" not in name}


async def emulate(console: Console, session: Session, *, folder: Path) -> int:
    """Run a session, print it, and return the exit status."""
    tmp = folder / "tmp"
    tmp.mkdir()
    destination = session.environment["LOGFERRY_DESTINATION"]
    before = await keys_in(destination)
    with progress(console, "invocations") as update:
        outcome = await play(session, tmp=tmp, update=update)
    show_timeline(console, outcome.timeline)
    if is_clipped(outcome.timeline):
        show_output(console, "output of the function", outcome.output)
        show_output(console, "messages of logferry", outcome.messages)
    after = await keys_in(destination)
    own = await own_records_in(destination, after - (before or set())) if after else {}
    show_summary(console, outcome, objects=None if after is None else len(after), own_records=own)
    show_verdict(console, outcome)
    return int(bool(outcome.faults))


async def play(
    session: Session, *, tmp: Path, update: Callable[[int, int], None] = lambda _done, _total: None
) -> Outcome:
    """Run a session.

    `tmp` is the environment's /tmp. `update` receives the number of responses and of events.
    """
    spool = tmp / "logferry"
    config = EnvironmentConfig(
        function=session.function,
        extensions={EXTENSION: session.launcher},
        environment={"LOGFERRY_SPOOL_DIR": str(spool), **session.environment},
        working_directory=session.working_directory,
        tmp_directory=tmp,
        timeout_seconds=session.timeout_seconds,
        memory_mb=session.memory_mb,
        function_name=session.function_name,
        handler=session.handler,
        log_format="JSON" if session.log_format.upper() == "JSON" else "Text",
        initialization_type=session.initialization_type,  # type: ignore[arg-type]  # the command offers only these
        max_concurrency=session.concurrency,
        runtime_processes=session.concurrency,
    )
    async with Lambda(config) as service:
        await service.start()
        invocations = await _invoke(service, session, update)
        shutdown = await service.shutdown()
        return Outcome(
            invocations=invocations,
            shutdown=shutdown,
            timeline=tuple(service.timeline),
            records_sent=len(service.records_sent),
            records_delivered=len(service.records_delivered),
            records_dropped=len(service.records_dropped),
            messages=[line for process, line in service.console if process == EXTENSION],
            output=[line for process, line in service.console if process != EXTENSION],
            spool_left=sum(1 for path in spool.glob("*-*.*")) if spool.is_dir() else 0,
        )


async def _invoke(service: Lambda, session: Session, update: Callable[[int, int], None]) -> list[InvokeResult]:
    """Invoke the function with each event in turn, or concurrently on Managed Instances."""
    done = 0
    at_once = asyncio.Semaphore(session.concurrency)

    async def one(event: Mapping[str, Any]) -> InvokeResult:
        nonlocal done
        async with at_once:
            result = await service.invoke(event)
            done += 1
            update(done, len(session.events))
            return result

    if session.concurrency > 1:
        return list(await asyncio.gather(*(one(event) for event in session.events)))
    results = []
    for number, event in enumerate(session.events):
        if number and session.interval_seconds:
            await service.wait_idle()
            await service.idle_for(session.interval_seconds)
        results.append(await one(event))
    await service.wait_idle()
    return results
