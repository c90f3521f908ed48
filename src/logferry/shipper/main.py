"""Composition root of the shipper: settings and clocks are chosen here and nowhere else.

Guarantees:
- Batches are answered some milliseconds after the fork, before the libraries are imported.
- Invalid settings lead to one message that names every mistake; then the supervisor idles.
- Nothing unique is created before a SnapStart snapshot.

Design: the forked child imports this module, the supervisor never does. Modules imported at the top are on the way to
the first response, so they avoid `dataclasses`, `inspect` and `asyncio`. The others are imported in small steps.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from logferry import ipc, log
from logferry.errors import SettingsError
from logferry.flush.policy import Pace, Waiting
from logferry.flush.scheduler import Scheduler
from logferry.journal import orphans
from logferry.journal.journal import Journal
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.listener.path_token import PathToken
from logferry.records import batch_facts, decoder
from logferry.records.internal import InternalBatch
from logferry.records.invocations import Invocations
from logferry.records.model import Origin
from logferry.settings import Settings
from logferry.shipper.bootstrap_server import BootstrapServer
from logferry.shipper.event_queue import EventQueue
from logferry.shipper.startup import SteppedImport, collect_from_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from logferry.records.model import Header
    from logferry.shipper.event_collection import EventCollection
    from logferry.shipper.invocation_records import InvocationRecords

MANAGED_INSTANCES = "lambda-managed-instances"


def run_shipper(
    *,
    channel_fd: int,
    listener_fd: int,
    environment: str,
    restarts: int,
    path_token: str,
    account: str,
    event_sources: ipc.EventSources | None = None,
) -> int:
    """Run the shipper of `environment`, after `restarts` earlier ones; return the exit code.

    `path_token` is the path of the subscription, to which the platform delivers; `account` may be empty.
    `event_sources` is None if the function's own events are not accepted.
    """
    channel, listener = socket.socket(fileno=channel_fd), socket.socket(fileno=listener_fd)
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        return _idle(channel, error)
    log.configure(level=settings.log_level, as_json=_json_format(os.environ))
    invocations, deduplicator = Invocations(), Deduplicator()
    if _snap_start(os.environ):
        environment, restarts = os.urandom(8).hex(), 0
    name = _name(settings.spool_dir, environment, restarts)
    journal = _open_journal(settings, _origin(name, account, os.environ), invocations, deduplicator)
    managed = journal.origin.concurrent
    intake = Intake(journal=journal, deduplicator=deduplicator, invocations=invocations, managed=managed)
    scheduler = Scheduler(
        journal=journal,
        policy=settings.policy,
        invocations=invocations,
        managed=managed,
        renew=lambda: journal.renew(os.urandom(8).hex()) if _snap_start(os.environ) else None,
    )
    intake.add_callback(scheduler.on_batch)
    records = _open_invocation_records(
        settings, journal, intake=intake, scheduler=scheduler, invocations=invocations, restarted=restarts > 0
    )
    collection = _open_event_collection(
        event_sources,
        settings,
        records,
        intake=intake,
        scheduler=scheduler,
        invocations=invocations,
        restarted=restarts > 0,
    )
    channel.send(ipc.READY)
    queue = EventQueue(scheduler=scheduler, invocations=invocations)
    is_allowed = PathToken(path_token).is_allowed
    server = BootstrapServer(
        listener=listener,
        channel=channel,
        is_allowed=is_allowed,
        accept=intake.accept,
        on_packet=queue.handle_packet,
        events=collection,
    )
    with SteppedImport(server=server, queue=queue):
        from logferry.shipper import event_loop  # noqa: PLC0415 - imports asyncio and everything that needs it
        from logferry.shipper.upload_target import open_fallback_target, open_target  # noqa: PLC0415 - after the first responses

        if settings.records and settings.records.processing:
            settings.records.processing.load()
        target = open_target(settings, os.environ)
        fallback = open_fallback_target(settings, os.environ)
    server.finish()
    collect_from_here()
    if not queue.supervisor_ended:
        event_loop.run(
            target=target,
            fallback=fallback,
            settings=settings,
            channel=channel,
            listener=listener,
            is_allowed=is_allowed,
            journal=journal,
            intake=intake,
            scheduler=scheduler,
            invocations=invocations,
            queued=queue.waiting,
            collection=collection,
            records=records,
            connect_early=not _snap_start(os.environ) and settings.policy.on_invoke(Waiting(), Pace()) is not None,
        )
    return 0


def _open_invocation_records(
    settings: Settings,
    journal: Journal,
    *,
    intake: Intake,
    scheduler: Scheduler,
    invocations: Invocations,
    restarted: bool,
) -> InvocationRecords | None:
    """Return the maker of the summaries of invocations, or None if no instrumentation is on."""
    options = settings.instrumentation
    if not options or not (options.events or options.usage):
        return None
    from logferry.shipper.invocation_records import InvocationRecords  # noqa: PLC0415 - off by default

    managed, usage = journal.origin.concurrent, None
    if options.usage:
        from logferry.shipper.invocation_usage import open_usage  # noqa: PLC0415 - off by default

        usage = open_usage(
            tmp=os.path.dirname(settings.spool_dir),
            memory_mb=os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
            interval_seconds=options.usage_seconds,
            complete_seconds=options.usage_complete_seconds,
            managed=managed,
        )

    def store(batch: InternalBatch) -> None:
        # Without the other callbacks of the intake: they ran for the batch that ended the invocation.
        journal.append(batch)
        scheduler.on_batch()

    records = InvocationRecords(
        store=intake.store if managed else store,
        invocations=invocations,
        clock_ms=journal.now_ms,
        managed=managed,
        restarted=restarted,
        calls=options.calls != "off",
        events=options.events,
        usage=usage,
    )
    if options.calls != "off" and not restarted:
        from logferry.instrumentation import missing_hook  # noqa: PLC0415 - off by default

        if not missing_hook.is_configured(os.environ):
            warn, supervisor_pid = log.get_logger().warning, os.getppid()
            records.on_first_end_without_calls = lambda: missing_hook.warn_if_missing(
                supervisor_pid=supervisor_pid, warn=warn
            )
    invocations.observers.append(records.on_event)
    scheduler.observe_invoke = records.on_invoke
    return records


def _open_event_collection(
    sources: ipc.EventSources | None,
    settings: Settings,
    records: InvocationRecords | None,
    *,
    intake: Intake,
    scheduler: Scheduler,
    invocations: Invocations,
    restarted: bool,
) -> EventCollection | None:
    """Return the collection of the function's own events, or None if they are not accepted."""
    options = settings.instrumentation
    if not sources or not options or not options.events or not records:
        return None
    from logferry.shipper.event_collection import open_event_collection  # noqa: PLC0415 - most functions send no events

    collection = open_event_collection(
        sources=sources,
        intake=intake,
        scheduler=scheduler,
        invocations=invocations,
        managed=_origin("", "", os.environ).concurrent,
        restarted=restarted,
        limit=options.events_limit,
        store_calls=options.calls != "summary",
        on_event=records.summaries.on_event,
        on_lost=records.summaries.on_lost,
    )
    records.drain, records.has_waiting = collection.intake.drain, collection.intake.has_waiting
    return collection


def _idle(channel: socket.socket, error: SettingsError) -> int:
    """Log every mistake in one message, and let the supervisor idle, so that the function is not affected."""
    log.configure(level="warning", as_json=_json_format(os.environ))
    log.get_logger().error(
        "invalid settings, log shipping is disabled; the function is not affected", errors=error.mistakes
    )
    channel.send(ipc.IDLE + str(error).encode(errors="replace")[: ipc.PACKET_BYTES - 1])
    return 0


def _open_journal(settings: Settings, origin: Origin, invocations: Invocations, deduplicator: Deduplicator) -> Journal:
    """Return the journal in the spool directory, or in a separate one if another process holds the spool."""

    def follow(header: Header, batches: Iterable[bytes]) -> str | None:
        invocations.resume(header)
        for batch in batches:
            invocations.see(batch)
            if not isinstance(batch, InternalBatch):
                deduplicator.note(batch)
        return invocations.running

    def opened(directory: str) -> Journal:
        return Journal(
            directory,
            origin=origin,
            limit_bytes=settings.spool_bytes,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            count_records=decoder.count_records,
            follow=follow,
            warn=log.get_logger().warning,
            started=invocations.started,
            segment_bytes=settings.object_bytes,
            is_omitted=(lambda _: False) if "platform" in settings.types else batch_facts.is_only_platform,
        )

    orphans.adopt(settings.spool_dir)
    try:
        return opened(settings.spool_dir)
    except BlockingIOError:
        return opened(orphans.separate_directory(settings.spool_dir, origin.environment))


def _name(spool: str, environment: str, restarts: int) -> str:
    """Return the environment's name, or a new one if another process removed the files of an earlier shipper.

    Segment numbers continue from the files that are there. Without them they would start at 1 again, and new objects
    would overwrite old ones.
    """
    if not restarts:
        return environment
    try:
        found = any(f"-{environment}-" in name for name in os.listdir(spool))
    except FileNotFoundError:
        found = False
    return environment if found else f"{environment}r{restarts}"


def _origin(environment: str, account: str, environ: Mapping[str, str]) -> Origin:
    return Origin(
        environment=environment,
        account=account,
        function=environ.get("AWS_LAMBDA_FUNCTION_NAME", "unknown"),
        version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        region=environ.get("AWS_REGION", "unknown"),
        concurrent=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == MANAGED_INSTANCES,
    )


def _snap_start(environ: Mapping[str, str]) -> bool:
    """Return whether everything that exists now will be in a snapshot and in all its clones."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def _json_format(environ: Mapping[str, str]) -> bool:
    return environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
