"""The asyncio part of the shipper: builds the components that need an event loop, and runs them.

Design: this module is imported in small steps after the bootstrap server has started (see `startup`), so its own
imports need no laziness.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from logferry.flush.uploader import Uploader
from logferry.listener.server import listening
from logferry.shipper.background_flush import BackgroundFlush
from logferry.shipper.change_signal import ChangeSignal
from logferry.shipper.channel import Channel
from logferry.shipper.failure_watch import FailureWatch
from logferry.shipper.invocation_flush import InvocationFlush
from logferry.shipper.lifecycle import Lifecycle
from logferry.shipper.shutdown_flush import ShutdownFlush

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.journal.journal import Journal
    from logferry.listener.intake import Intake
    from logferry.records.invocations import Invocations
    from logferry.settings import Settings
    from logferry.shipper.event_collection import EventCollection
    from logferry.shipper.events import Invoke, Shutdown
    from logferry.shipper.invocation_records import InvocationRecords
    from logferry.shipper.upload_target import UploadTarget


def run(
    *,
    target: UploadTarget,
    fallback: UploadTarget | None,
    settings: Settings,
    channel: socket.socket,
    listener: socket.socket,
    is_allowed: Callable[[str], bool],
    journal: Journal,
    intake: Intake,
    scheduler: Scheduler,
    invocations: Invocations,
    queued: Sequence[tuple[Invoke, InvokeDecision] | Shutdown],
    collection: EventCollection | None,
    records: InvocationRecords | None,
    connect_early: bool,
) -> None:
    """Serve and handle events until the end of the process, which this function brings about.

    `fallback` is the target of the fallback destination, or None.
    `connect_early`: open a connection to the sink before the first event. `collection` is None if the function's own
    events are not accepted, and `records` if invocations have no summary.
    """

    async def serve() -> None:
        uploader = Uploader(
            journal=journal,
            sink=target.sink,
            encode=target.encode,
            timeout_seconds=settings.upload_timeout,
            fallback=fallback,
        )
        packets = (
            Channel(channel, on_packet=collection.on_packet, on_done=collection.on_done)
            if collection
            else Channel(channel)
        )
        lifecycle = build_lifecycle(
            channel=packets,
            journal=journal,
            intake=intake,
            scheduler=scheduler,
            invocations=invocations,
            uploader=uploader,
            records=records,
        )
        if connect_early and not queued:
            # The first handshake takes several ms of CPU time. During the Init phase it does not delay an invocation.
            uploader.connect()
        if collection:
            collection.run_in(asyncio.get_running_loop(), packets)
        if records:
            records.run_in(asyncio.get_running_loop())
        async with listening(listener, intake.accept, is_allowed, events=collection.endpoint if collection else None):
            await lifecycle.run(queued)
            if collection:
                collection.finish()
            # All records are stored and DONE is sent. An orderly teardown of loop, connection and modules would take
            # CPU time of the function, on the smallest functions more than the 2,000 ms of the Shutdown phase.
            sys.stdout.flush()
            os._exit(0)

    asyncio.run(serve())


def build_lifecycle(
    *,
    channel: Channel,
    journal: Journal,
    intake: Intake,
    scheduler: Scheduler,
    invocations: Invocations,
    uploader: Uploader,
    records: InvocationRecords | None = None,
    epoch_ms: Callable[[], float] | None = None,
) -> Lifecycle:
    """Return the lifecycle with its flushes.

    `records` is None if invocations have no summary. `epoch_ms` is given only in tests.
    """
    changes, managed = ChangeSignal(), journal.origin.concurrent
    failures = FailureWatch(journal=journal, invocations=invocations, store=intake.store)
    intake.add_callback(failures.on_batch)  # before `changes`: the record precedes the flush that waits for the batch
    if records:
        intake.add_callback(records.on_batch)
    intake.add_callback(changes.notify)

    def before_last_seal(reason: str) -> None:
        failures.on_shutdown(reason)
        if records:
            records.on_shutdown(reason)

    failures.judge()  # those that arrived before the event loop
    background = BackgroundFlush(
        scheduler=scheduler,
        invocations=invocations,
        uploader=uploader,
        changes=changes,
        channel=channel,
        managed=managed,
    )
    shutdown = ShutdownFlush(
        intake=intake,
        scheduler=scheduler,
        invocations=invocations,
        uploader=uploader,
        changes=changes,
        managed=managed,
        before_seal=before_last_seal,
    )
    return Lifecycle(
        channel=channel,
        scheduler=scheduler,
        changes=changes,
        invocation=InvocationFlush(scheduler=scheduler, invocations=invocations, uploader=uploader, changes=changes),
        background=background,
        shutdown=shutdown,
        **({"epoch_ms": epoch_ms} if epoch_ms else {}),
    )
