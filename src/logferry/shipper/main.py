"""The wiring of the shipper process: the only room that knows the settings, the environment and the concrete sinks.

It is imported by the forked child, never by the supervisor. What is imported at the top is small (parts of the
standard library), so that the journal is open and deliveries are answered some milliseconds after the fork; the
libraries are loaded behind the doorman. Small means without `dataclasses`, too: with the `inspect` that they import and
the classes that they compile they were 15 of 41 ms, in which the function's own init shared its core with us at full
priority. The values of those rooms are named tuples.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from logferry import ipc, log
from logferry.errors import SettingsError, SinkError
from logferry.flush.scheduler import Scheduler
from logferry.journal import orphans
from logferry.journal.journal import Journal
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.listener.path_token import PathToken
from logferry.records import decoder
from logferry.records.encoder import encode
from logferry.records.invocations import Invocations
from logferry.records.model import Origin
from logferry.settings import Settings
from logferry.shipper.bootstrap_server import BootstrapServer
from logferry.shipper.early_events import EventQueue
from logferry.shipper.import_stubs import standing_in
from logferry.shipper.pause import Pause
from logferry.shipper.startup import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logferry.flush.scheduler import InvokeDecision
    from logferry.records.model import Header, StoredObject
    from logferry.shipper.events import Invoke, Shutdown
    from logferry.sink.directory import DirectorySink
    from logferry.sink.s3 import S3Sink

MANAGED_INSTANCES = "lambda-managed-instances"
MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
)
"""Function authors set these for the function; botocore would look for files that are not ours, or choke on a value."""


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
    invocations, deduplicator, pause = Invocations(), Deduplicator(), Pause()
    if _snap_start(os.environ):
        environment, restarts = os.urandom(8).hex(), 0
    journal = _open_journal(
        settings, _name(settings.spool_dir, environment, restarts), invocations, deduplicator, pause
    )
    managed = journal.origin.concurrent
    intake = Intake(journal=journal, deduplicator=deduplicator, invocations=invocations, managed=managed)
    scheduler = Scheduler(
        journal=journal,
        policy=settings.policy,
        invocations=invocations,
        managed=managed,
        renew=lambda: journal.renew(os.urandom(8).hex()) if _snap_start(os.environ) else None,
    )
    channel.send(ipc.READY)
    intake.add_callback(scheduler.on_batch)
    early = EventQueue(scheduler=scheduler, invocations=invocations, pause=pause)
    intake.add_callback(early.on_batch)
    is_allowed = PathToken(door).is_allowed
    bootstrap_server = BootstrapServer(
        listener=listener, channel=channel, is_allowed=is_allowed, accept=intake.accept, hear=early.hear
    )

    def live(sink: S3Sink | DirectorySink) -> None:
        if not early.supervisor_gone:
            import asyncio  # noqa: PLC0415 - 45 ms, loaded behind the doorman

            asyncio.run(
                _live(
                    _Started(
                        settings,
                        sink,
                        channel,
                        listener,
                        is_allowed,
                        journal,
                        intake,
                        scheduler,
                        invocations,
                        early.waiting,
                    )
                )
            )

    warm_up(lambda: _load(settings), pause=pause, serve=bootstrap_server.serve_until, then=live)
    return 0


def _idle(channel: socket.socket, error: SettingsError) -> int:
    """Name every mistake in one message, and let the supervisor idle: the function is not to suffer for it."""
    log.configure(level="warning", as_json=_json_format(os.environ))
    log.get_logger().error(
        "logferry ships nothing until its settings are mended; the function is not affected", mistakes=error.mistakes
    )
    channel.send(ipc.IDLE + str(error).encode()[: ipc.PACKET_BYTES - 1])
    return 0


def _open_journal(
    settings: Settings, environment: str, invocations: Invocations, deduplicator: Deduplicator, pause: Pause
) -> Journal:
    """The journal in the spool directory; beside it, in one of our own, where another environment holds that."""

    def follow(running: str | None, bodies: Iterable[bytes]) -> str | None:
        invocations.running = running
        for body in bodies:
            invocations.see(body)
            deduplicator.note(body)
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
            count_records=decoder.count_records,
            follow=follow,
            complain=complain,
        )

    orphans.take_in(settings.spool_dir)
    try:
        return opened(settings.spool_dir)
    except BlockingIOError:
        return opened(orphans.beside(settings.spool_dir, environment))


def _complain(message: str) -> None:
    """The journal's one complaint may come before anything is loaded."""
    log.configure(level="warning", as_json=_json_format(os.environ))
    log.get_logger().warning(message)


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


def _load(settings: Settings) -> S3Sink | DirectorySink:
    """Import what is dear and make the sink ready."""
    with standing_in():
        import asyncio  # noqa: PLC0415

        from logferry.flush import uploader  # noqa: F401, PLC0415
        from logferry.listener import server  # noqa: F401, PLC0415
        from logferry.shipper import lifecycle  # noqa: F401, PLC0415

        log.configure(level=settings.log_level, as_json=_json_format(os.environ))
        sink = _sink(settings)
        # A client is not tied to the loop it was made in, only its connections are, and it has none yet. Making it
        # takes 20 ms of CPU and more, in which the listener's loop would answer no delivery. Where it fails, the first
        # upload says why. Under SnapStart it would hold credentials from before the snapshot.
        if not _snap_start(os.environ):
            with contextlib.suppress(SinkError):
                asyncio.run(sink.warm())
    _collect_from_here()
    return sink


def _sink(settings: Settings) -> S3Sink | DirectorySink:
    destination = settings.destination
    if destination.scheme == "file":
        from logferry.sink.directory import DirectorySink  # noqa: PLC0415

        return DirectorySink(Path(destination.path))
    for name in MISLEADING:
        os.environ.pop(name, None)
    with _no_system_certificates():
        from logferry.sink.s3 import S3Sink  # noqa: PLC0415

    return S3Sink(
        bucket=destination.bucket,
        prefix=destination.path,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        timeout_seconds=settings.upload_timeout,
    )


def _collect_from_here() -> None:
    """Since the fork nothing was collected: modules stay, and looking for garbage among them takes 7 % of their CPU.

    Frozen they are never looked at again, which would take 28 ms each time.
    """
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def _no_system_certificates() -> Iterator[None]:
    """While aiohttp is imported: it reads the system's whole store of certificates (40 ms), which nobody here uses.

    The S3 client brings certificates of its own, or those of AWS_CA_BUNDLE.
    """
    kept = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(kept, os.devnull))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Started(NamedTuple):
    """What stands when the libraries are loaded."""

    settings: Settings
    sink: S3Sink | DirectorySink
    channel: socket.socket
    listener: socket.socket
    is_allowed: Callable[[str], bool]
    journal: Journal
    intake: Intake
    scheduler: Scheduler
    invocations: Invocations
    early: list[tuple[Invoke, InvokeDecision] | Shutdown]


async def _live(started: _Started) -> None:
    from logferry.flush.uploader import Uploader  # noqa: PLC0415
    from logferry.listener.server import listening  # noqa: PLC0415
    from logferry.shipper.lifecycle import Shipper  # noqa: PLC0415

    settings, journal = started.settings, started.journal

    def as_object(header: Header, bodies: Iterable[bytes], final: bool) -> StoredObject:
        return encode(header, bodies, final=final, key=settings.key, compress=settings.compress, types=settings.types)

    started.channel.setblocking(False)
    shipper = Shipper(
        channel=started.channel,
        intake=started.intake,
        scheduler=started.scheduler,
        invocations=started.invocations,
        uploader=Uploader(
            journal=journal, sink=started.sink, encode=as_object, timeout_seconds=settings.upload_timeout
        ),
        managed=journal.origin.concurrent,
    )
    async with listening(started.listener, started.intake.accept, started.is_allowed):
        await shipper.run(started.early)
        # Everything is stored and said. Closing loops, sessions and 600 modules in order would take 150 ms of the
        # function's CPU, on the smallest functions more than the 2,000 ms that there are.
        sys.stdout.flush()
        os._exit(0)
