"""Lifecycle of the shipper process: it handles INVOKE and SHUTDOWN events, and sends DONE after each.

Guarantees:
- Events are handled one after another. A second event arrives before DONE only if the deadline of the
  first has passed in the supervisor.
- When DONE is sent, nothing is in flight for the event.
- The process ends after SHUTDOWN, or when the supervisor has ended.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.loop_clock import loop_time
from logferry.shipper import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.shipper.background_flush import BackgroundFlush
    from logferry.shipper.change_signal import ChangeSignal
    from logferry.shipper.channel import Channel
    from logferry.shipper.events import Invoke, Shutdown
    from logferry.shipper.invocation_flush import InvocationFlush
    from logferry.shipper.shutdown_flush import ShutdownFlush


class Lifecycle:
    """One shipper process, from its first event to SHUTDOWN or the end of its supervisor."""

    def __init__(
        self,
        *,
        channel: Channel,
        scheduler: Scheduler,
        changes: ChangeSignal,
        invocation: InvocationFlush,
        background: BackgroundFlush,
        shutdown: ShutdownFlush,
        epoch_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        """`epoch_ms` is replaced only in tests: the clock that the platform's deadlines are compared with."""
        self._channel = channel
        self._scheduler = scheduler
        self._changes = changes
        self._invocation = invocation
        self._background = background
        self._shutdown = shutdown
        self._epoch_ms = epoch_ms

    async def run(self, queued: Sequence[tuple[Invoke, InvokeDecision] | Shutdown] = ()) -> None:
        """Handle events until the end; `queued` events arrived while the libraries were loading."""
        async with asyncio.TaskGroup() as tasks:
            background = tasks.create_task(self._background.run())
            handling: asyncio.Task[None] | None = None
            for event in queued:
                handling = tasks.create_task(self._handle(event, after=handling))
            async for packet in self._channel.packets():
                if packet == ipc.PING:
                    self._channel.send(ipc.PONG)
                elif events.is_event(packet):
                    handling = tasks.create_task(self._handle(self._decide(packet), after=handling))
            for task in (background, handling):
                if task:
                    task.cancel()

    def _decide(self, packet: bytes) -> tuple[Invoke, InvokeDecision] | Shutdown:
        event = events.parse(packet, now_ms=self._epoch_ms(), now=loop_time())
        if isinstance(event, events.Shutdown):
            return event
        return event, self._scheduler.on_invoke(event.request_id, again=event.again)

    async def _handle(
        self, event: tuple[Invoke, InvokeDecision] | Shutdown, *, after: asyncio.Task[None] | None
    ) -> None:
        if after and not after.done():
            await asyncio.wait((after,))
        if isinstance(event, events.Shutdown):
            await self._shutdown.run(event)
            self._channel.send(events.done(event))
            self._channel.stop()
        else:
            await self._handle_invoke(*event)

    async def _handle_invoke(self, event: Invoke, decision: InvokeDecision) -> None:
        self._background.event_held = True
        self._changes.notify()
        try:
            await self._invocation.run(event, decision)
        finally:
            self._background.event_held = False
        self._channel.send(events.done(event))
