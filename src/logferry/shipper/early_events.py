"""Events that come while the libraries are loading.

Promises:
- an event is kept until the shipper can work on it, also an INVOKE with which nothing is due: the environment runs only
  while something is held, and the rest of the loading must not be left to the next invocation's cost. The caller does
  not wait for it, for the runtime's answer is out;
- while the invocation runs, loading pauses; its end, SHUTDOWN and the end of the supervisor let it go on;
- the pause is told of every event, for the signal ahead of each has stopped the loading already.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.shipper import events

if TYPE_CHECKING:
    from logferry.flush.scheduler import InvokeDecision, Scheduler
    from logferry.records.invocations import Invocations
    from logferry.shipper.events import Invoke, Shutdown
    from logferry.shipper.pause import Pause


class EventQueue:
    """What the supervisor has said so far."""

    def __init__(self, *, scheduler: Scheduler, invocations: Invocations, pause: Pause) -> None:
        self.waiting: list[tuple[Invoke, InvokeDecision] | Shutdown] = []
        self.supervisor_gone = False
        self._scheduler = scheduler
        self._invocations = invocations
        self._pause = pause
        self._request_id = ""

    def hear(self, packet: bytes) -> None:
        """Take in a packet from the supervisor; an empty one is its end."""
        if not packet:
            self.supervisor_gone = True
            self._pause.end()
        elif events.is_event(packet):
            event = events.parse(packet, now_ms=time.time() * 1000, now=time.monotonic())
            if isinstance(event, events.Shutdown):
                self.waiting.append(event)
                self._pause.end()
            else:
                self.waiting.append((event, self._scheduler.on_invoke(event.request_id)))
                self._request_id = event.request_id
                if self._running(event):
                    self._pause.begin()
                else:
                    self._pause.end()

    def _running(self, event: Invoke) -> bool:
        """Whether its runtime is still to be done. One that is handed on again may have ended in a life before."""
        if event.again and self._invocations.running != event.request_id:
            return False
        return not self._invocations.ended(event.request_id)

    def on_batch(self) -> None:
        """Resume loading when the runtime is done."""
        if self._invocations.ended(self._request_id):
            self._pause.end()
