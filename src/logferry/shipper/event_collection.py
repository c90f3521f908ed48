"""Collection of the function's own events: the moments at which the pipe is read.

Guarantees:
- The event loop never waits for the descriptor of the pipe. A reader that waits would be woken by each event, which
  costs the writer more than the event itself.
- The pipe is read when an INVOKE arrives, at the end of each invocation, once in `INTERVAL_SECONDS` during an
  invocation, before each seal, and at SHUTDOWN. After the first event it is also read after each accepted batch.
- After an accepted batch the response is sent first, and between two reads the event loop serves other work.
- A short invocation without events costs two looks at the pipe. Its INVOKE event is parsed only if an event follows.

Design: after `platform.runtimeDone` one complete read is enough, because everything that the runtime wrote before its
next request for an invocation is in the pipe then. The summary of the invocation makes it (`invocation_records`). The
bootstrap server calls `step` while the libraries are imported.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from logferry import log
from logferry.instrumentation.event_attribution import TRACES, EventAttribution
from logferry.instrumentation.event_endpoint import EventEndpoint
from logferry.instrumentation.event_intake import EventIntake
from logferry.instrumentation.event_line import root_of
from logferry.instrumentation.event_losses import EventLosses
from logferry.instrumentation.event_pipe import EventPipe
from logferry.records.attribution import platform_request
from logferry.records.decoder import RUNTIME_DONE, START
from logferry.shipper import events

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from typing import Any

    from logferry.flush.scheduler import Scheduler
    from logferry.ipc import EventSources
    from logferry.listener.intake import Intake
    from logferry.records.decoder import Event
    from logferry.records.invocations import Invocations
    from logferry.shipper.channel import Channel

INTERVAL_SECONDS = 1.0
"""Longest time between two reads of the pipe during an invocation, in seconds."""


class EventCollection:
    """The intake of events, its HTTP endpoint, and the moments of its reads."""

    interval_seconds = INTERVAL_SECONDS

    def __init__(self, *, intake: EventIntake, invocations: Invocations, managed: bool) -> None:
        self.intake = intake
        self.endpoint = EventEndpoint(intake)
        self._invocations = invocations
        self._managed = managed
        self.receive: Callable[[], None] = lambda: None
        """Receive the packets of the supervisor that have arrived."""
        intake.refresh = self._refresh
        self._deferred: deque[tuple[bytes, int]] = deque(maxlen=TRACES)
        """Packets of INVOKE and SHUTDOWN at which no event waited, with the times of their receipt (epoch ms)."""
        self._end_has_arrived = False
        """Whether the batch that is being accepted has ended an invocation."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._step_is_planned = False
        self._timer: asyncio.TimerHandle | None = None

    def on_packet(self, packet: bytes) -> None:
        """Take note of an INVOKE or SHUTDOWN event in a packet from the supervisor, and read the pipe."""
        if not events.is_event(packet):
            return
        now_ms = _clock_ms()
        # Most invocations send no event. If nothing waits, the packet is not parsed before an event arrives.
        if self.intake.has_waiting():
            self._take_deferred()
            self._take(_parsed(packet), now_ms, was_empty=False)
        else:
            self._deferred.append((packet, now_ms))
        self.intake.attribution.is_held = True
        self._set_timer(is_running=True)

    def on_done(self) -> None:
        """Take note that an event is acknowledged: the platform may send the next one."""
        self.intake.attribution.is_held = False

    def _refresh(self) -> None:
        self.receive()
        self._take_deferred()

    def _take_deferred(self) -> None:
        if not self._deferred:
            return
        parsed = [(_parsed(packet), received_ms) for packet, received_ms in self._deferred]
        self._deferred.clear()
        invokes = [(event, received_ms) for event, received_ms in parsed if isinstance(event, events.Invoke)]
        # Only the trace is used of an invocation that another one has followed.
        for earlier, _ in invokes[:-1]:
            self.intake.attribution.note_trace(earlier.request_id, root_of(earlier.trace))
        if invokes:
            self._take(*invokes[-1], was_empty=True)
        if len(invokes) < len(parsed):
            self.intake.drain()

    def _take(self, event: events.Invoke | events.Shutdown, received_ms: int, *, was_empty: bool) -> None:
        if isinstance(event, events.Shutdown):
            self.intake.drain()
        else:
            self.intake.on_invoke(
                event.request_id,
                root_of(event.trace),
                deadline_ms=event.deadline_ms,
                invoked_ms=received_ms,
                nothing_waited=was_empty or event.again,
            )

    def on_event(self, event: Event) -> None:
        """Note start, trace and end of an invocation."""
        attribution = self.intake.attribution
        # Three cases: 1. a start shows traces on Managed Instances, 2. and whether deadlines may be used, unless the
        # deadline is in a deferred packet, 3. an end.
        if event.type == START and self._managed:
            record = event.fields.get("record")  # any process may post an event without it
            tracing = record.get("tracing") if isinstance(record, dict) else None
            if isinstance(tracing, dict) and isinstance(tracing.get("value"), str):
                attribution.note_trace(platform_request(event) or "", root_of(tracing["value"]))
        elif event.type == START and not self._deferred and attribution.needs_start:
            attribution.note_start(platform_request(event) or "", event.fields.get("time"))
        elif event.type == RUNTIME_DONE:
            self._end_has_arrived = True
            attribution.note_end(platform_request(event) or "", event.fields.get("time"))

    def on_batch(self) -> None:
        """Plan a read after the response to a batch that has been accepted."""
        # The first event waits for the end of its invocation or for the timer.
        end_has_arrived, self._end_has_arrived = self._end_has_arrived, False
        # Two exceptions: 1. during startup the bootstrap server calls `step` after each response, 2. at the end of an
        # invocation the pipe is read for its summary.
        if self._loop and not end_has_arrived:
            if self.intake.has_read:
                self._plan_step()
            if not self._timer:
                self._set_timer(is_running=self._is_running())

    def step(self) -> None:
        """Read once."""
        self.intake.read_once()

    def run_in(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        """Use the event loop for timers. `channel` receives the packets of the supervisor from now on."""
        self._loop = loop
        self.receive = channel.receive_waiting
        self._set_timer(is_running=self._is_running())

    def finish(self) -> None:
        """Read the rest at the end of the environment."""
        self.intake.finish()

    def _plan_step(self) -> None:
        if self._loop and not self._step_is_planned and self.intake.has_waiting():
            self._step_is_planned = True
            self._loop.call_soon(self._planned_step)

    def _planned_step(self) -> None:
        self._step_is_planned = False
        if self.intake.read_once():
            self._plan_step()

    def _set_timer(self, *, is_running: bool) -> None:
        if is_running and not self._timer and self._loop:
            self._timer = self._loop.call_later(INTERVAL_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._plan_step()
        self._set_timer(is_running=self._is_running())

    def _is_running(self) -> bool:
        if self._managed:
            return not self._invocations.all_reported()
        return self._invocations.unended() is not None


def _parsed(packet: bytes) -> events.Invoke | events.Shutdown:
    return events.parse(packet, now_ms=0.0, now=0.0)  # only the date of the deadline is used here


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def open_event_collection(
    *,
    sources: EventSources,
    intake: Intake,
    scheduler: Scheduler,
    invocations: Invocations,
    managed: bool,
    restarted: bool,
    limit: int,
    store_calls: bool,
    on_event: Callable[[str, Mapping[str, Any], str | None], None] = lambda *_: None,
    on_lost: Callable[[str, int, str | None], None] = lambda *_: None,
) -> EventCollection:
    """Return the collection for the pipe that the supervisor made, wired to the journal.

    `on_event` receives type, record and request of each event after it is stored, `on_lost` the reason, the number and
    the request of events that were not stored.
    """
    logger = log.get_logger()
    if sources.problem and not restarted:
        logger.warning("the pipe for events is not available; events can only be posted", reason=sources.problem)
    collection = EventCollection(
        intake=EventIntake(
            pipe=EventPipe(sources.pipe_fd) if sources.pipe_fd >= 0 else None,
            store=intake.store,
            attribution=EventAttribution(
                started=invocations.started,
                ended=invocations.ended,
                concurrent=managed,
                running=None if managed else invocations.running,
                any_started=restarted,
            ),
            losses=EventLosses(on_lost=on_lost, warn=logger.warning),
            on_event=on_event,
            limit=limit,
            limit_per_second=managed,
            store_calls=store_calls,
            since_ms=sources.since_ms,
            clock_ms=_clock_ms,
        ),
        invocations=invocations,
        managed=managed,
    )
    invocations.observers.append(collection.on_event)
    intake.add_stream_callback(collection.on_batch)
    scheduler.collect = collection.intake.collect
    return collection
