"""The wiring of the shipper process: the only room that knows the settings, the environment and the concrete sinks.

It is imported by the forked child, never by the supervisor. What is imported at the top is small (parts of the
standard library), so that the journal is open and deliveries are answered some milliseconds after the fork; the
libraries are loaded behind the doorman. Small means without `dataclasses`, too: with the `inspect` that they import and
the classes that they compile they were 15 of 41 ms, in which the function's own init shared its core with us at full
priority. The values of those rooms are named tuples.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from logferry import telemetry, wire
from logferry.accumulator import Accumulator
from logferry.door import Door
from logferry.doorman import Doorman
from logferry.early import Early
from logferry.encode import encode
from logferry.errors import SettingsError
from logferry.invocations import Invocations
from logferry.journal import sibling
from logferry.journal.journal import Journal
from logferry.journal.segment import Origin
from logferry.pause import Pause
from logferry.repeats import Repeats
from logferry.settings import Settings
from logferry.warmup import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from logferry.accumulator import Begun
    from logferry.encode import StoredObject
    from logferry.event import Invoke, Shutdown
    from logferry.journal.segment import Header
    from logferry.sinks.base import Sink

MANAGED_INSTANCES = "lambda-managed-instances"


def run_shipper(*, channel_fd: int, listener_fd: int, environment: str, restarts: int, door: str) -> int:
    """Live as the shipper of `environment`; `restarts` of its shippers came before. Returns the exit code.

    `door` is the path that the platform delivers to.
    """
    channel = socket.socket(fileno=channel_fd)
    listener = socket.socket(fileno=listener_fd)
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        return _idle(channel, error)
    invocations, repeats, pause = Invocations(), Repeats(), Pause()
    if _snap_start(os.environ):
        environment, restarts = os.urandom(8).hex(), 0
    journal = _open_journal(settings, _name(settings.spool_dir, environment, restarts), invocations, repeats, pause)
    accumulator = Accumulator(
        journal=journal,
        policy=settings.policy,
        invocations=invocations,
        repeats=repeats,
        managed=journal.origin.concurrent,
        renew=lambda: journal.renew(os.urandom(8).hex()) if _snap_start(os.environ) else None,
    )
    channel.send(wire.READY)
    early = Early(accumulator=accumulator, pause=pause)
    admits = Door(door).admits
    doorman = Doorman(listener=listener, channel=channel, admits=admits, accept=accumulator.accept, hear=early.hear)

    def live(sink: Sink) -> None:
        if not early.supervisor_gone:
            import asyncio  # noqa: PLC0415 - 45 ms, loaded behind the doorman

            asyncio.run(_live(_Started(settings, sink, channel, listener, admits, journal, accumulator, early.waiting)))

    warm_up(lambda: _load(settings), pause=pause, serve=doorman.serve_until, then=live)
    return 0


def _idle(channel: socket.socket, error: SettingsError) -> int:
    """Name every mistake in one message, and let the supervisor idle: the function is not to suffer for it."""
    import structlog  # noqa: PLC0415 - only now is there something to say

    from logferry import messages  # noqa: PLC0415

    messages.configure(level="warning", as_json=_json_format(os.environ))
    structlog.get_logger().error(
        "logferry ships nothing until its settings are mended; the function is not affected", mistakes=error.mistakes
    )
    channel.send(wire.IDLE + str(error).encode()[: wire.PACKET_BYTES - 1])
    return 0


def _open_journal(
    settings: Settings, environment: str, invocations: Invocations, repeats: Repeats, pause: Pause
) -> Journal:
    """The journal in the spool directory; beside it, in one of our own, where another environment holds that."""

    def follow(running: str | None, bodies: Iterable[bytes]) -> str | None:
        invocations.running = running
        for body in bodies:
            invocations.see(body)
            repeats.note(body)
        return invocations.running

    def complain(message: str) -> None:
        pause.end()  # what is to be imported may be half loaded
        _complain(message)

    def opened(directory: Path) -> Journal:
        return Journal(
            directory,
            origin=_origin(environment, os.environ),
            limit_bytes=settings.spool_bytes,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            count_records=telemetry.count_records,
            follow=follow,
            complain=complain,
        )

    sibling.take_in(settings.spool_dir)
    try:
        return opened(settings.spool_dir)
    except BlockingIOError:
        return opened(sibling.beside(settings.spool_dir, environment))


def _complain(message: str) -> None:
    """The journal's one complaint may come before anything is loaded."""
    import structlog  # noqa: PLC0415

    from logferry import messages  # noqa: PLC0415

    messages.configure(level="warning", as_json=_json_format(os.environ))
    structlog.get_logger().warning(message)


def _name(spool: Path, environment: str, restarts: int) -> str:
    """The environment's name, another one where a shipper before us had its files removed by somebody.

    Numbers go on from the files that are there. Without them they would begin at 1 again, and new objects would
    overwrite the old ones.
    """
    if restarts and not any(spool.glob(f"*-{environment}-*")):
        return f"{environment}r{restarts}"
    return environment


def _origin(environment: str, environ: Mapping[str, str]) -> Origin:
    return Origin(
        environment=environment,
        function=environ.get("AWS_LAMBDA_FUNCTION_NAME", "unknown"),
        version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        region=environ.get("AWS_REGION", "unknown"),
        concurrent=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == MANAGED_INSTANCES,
    )


def _snap_start(environ: Mapping[str, str]) -> bool:
    """Whether what is made now will be in a snapshot, and in all its clones."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def _json_format(environ: Mapping[str, str]) -> bool:
    return environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def _load(settings: Settings) -> Sink:
    """Import what is dear and make the sink ready."""
    import asyncio  # noqa: F401, PLC0415

    from logferry import listener, messages, shipper, uploader  # noqa: F401, PLC0415

    messages.configure(level=settings.log_level, as_json=_json_format(os.environ))
    sink = _sink(settings)
    _collect_from_here()
    return sink


def _sink(settings: Settings) -> Sink:
    destination = settings.destination
    if destination.scheme == "file":
        from logferry.sinks.directory import DirectorySink  # noqa: PLC0415

        return DirectorySink(Path(destination.path))
    from logferry.sinks.s3 import open_sink  # noqa: PLC0415

    return open_sink(destination.bucket, destination.path, os.environ, settings.upload_timeout)


def _collect_from_here() -> None:
    """Since the fork nothing was collected: modules stay, and looking for garbage among them takes 7 % of their CPU.

    Frozen they are never looked at again, which would take 28 ms each time.
    """
    gc.freeze()
    gc.enable()


class _Started(NamedTuple):
    """What stands when the libraries are loaded."""

    settings: Settings
    sink: Sink
    channel: socket.socket
    listener: socket.socket
    admits: Callable[[str], bool]
    journal: Journal
    accumulator: Accumulator
    early: list[tuple[Invoke, Begun] | Shutdown]


async def _live(started: _Started) -> None:
    from logferry.listener import listening  # noqa: PLC0415
    from logferry.shipper import Shipper  # noqa: PLC0415
    from logferry.uploader import Uploader  # noqa: PLC0415

    settings, journal = started.settings, started.journal

    def as_object(header: Header, bodies: Iterable[bytes], final: bool) -> StoredObject:
        return encode(header, bodies, final=final, key=settings.key, compress=settings.compress, types=settings.types)

    started.channel.setblocking(False)
    shipper = Shipper(
        channel=started.channel,
        accumulator=started.accumulator,
        uploader=Uploader(
            journal=journal, sink=started.sink, encode=as_object, timeout_seconds=settings.upload_timeout
        ),
        managed=journal.origin.concurrent,
    )
    async with listening(started.listener, started.accumulator.accept, started.admits):
        await shipper.run(started.early)
        # Everything is stored and said. Closing loops, sessions and 600 modules in order would take 150 ms of the
        # function's CPU, on the smallest functions more than the 2,000 ms that there are.
        sys.stdout.flush()
        os._exit(0)
