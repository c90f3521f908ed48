"""Delivery to one subscriber: buffering, one POST at a time, retry in order, and nothing while it is frozen.

A record is in one of four places: waiting, in the POST under way, delivered (answered with less than 400) or dropped.
Nothing leaves that account. While a POST is unanswered records gather; a batch that is due stays open until the
subscriber is free or the batch is full. With `drop_on_busy` it is AWS's Managed Instances emulator instead: what is due
while a POST is unanswered is dropped, and so is what fails (`telemetry/internal/subscriber.go`).
Dropped records are announced in a `platform.logsDropped` with the next records that do get in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.batch import Batch, Piece, cut, encode
from logferry.emulator.telemetry.event_schema import telling
from logferry.emulator.telemetry.http_post import Poster

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from logferry.emulator.environment_config import TelemetryBehaviour
    from logferry.emulator.telemetry.platform_events import Event
    from logferry.emulator.telemetry.subscription import Subscription
    from logferry.emulator.timeline import Timeline

LOWEST_ERROR_STATUS = 400


class Subscriber:
    """A subscription at work. `now` gives seconds since the epoch; it stamps `platform.logsDropped`."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        session: aiohttp.ClientSession,
        behaviour: TelemetryBehaviour,
        log_format: str,
        timeline: Timeline,
        now: Callable[[], float],
    ) -> None:
        self.subscription = subscription
        self.sent: list[dict[str, Any]] = []
        self.delivered: list[dict[str, Any]] = []
        self.dropped: list[dict[str, Any]] = []
        self._poster = Poster(subscription, session=session, patience_seconds=behaviour.post_timeout_seconds)
        self._behaviour = behaviour
        self._log_format = log_format
        self._timeline = timeline
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._open = self._new_batch()
        self._closed: deque[Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_bytes = 0
        self._unannounced: list[tuple[int, int, str]] = []
        self._busy = False
        self._frozen = False
        self._hurried = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._send_forever(), name=f"deliver to {subscription.name}")

    def __repr__(self) -> str:
        return (
            f"<Subscriber {self.subscription.name}: {len(self.sent)} records sent, {len(self.delivered)} delivered, "
            f"{len(self.dropped)} dropped, {self._waiting_bytes} bytes waiting{', frozen' if self._frozen else ''}>"
        )

    def offer(self, event: Event) -> None:
        """Take an event if the subscriber is to be told of it; drop it when its buffer is full."""
        record = telling(event, self.subscription, log_format=self._log_format)
        if record is None:
            return
        self.sent.append(record)
        encoded = encode(record)
        if self._waiting_bytes + len(encoded) > self._behaviour.buffer_limit_bytes:
            self._drop([record], len(encoded), platform_events.TOO_SLOW)
            return
        self._announce_drops()
        self._take(record, encoded)

    def freeze(self) -> None:
        """Send nothing, and let the clock of a POST under way stand still."""
        self._frozen = True
        self._poster.freeze()

    def thaw(self) -> None:
        """Send again; what came due meanwhile goes at once."""
        if not self._frozen:
            return
        self._frozen = False
        self._poster.thaw()
        self._changed.set()

    def shorten_deadline(self) -> None:
        """From now on nothing waits for a batch to fill or to age: the environment is ending."""
        self._hurried = True
        self._changed.set()

    async def close(self) -> None:
        """Give up what is waiting. Raises what went wrong in the emulator itself, if anything did."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    def _new_batch(self) -> Batch:
        return Batch(self.subscription.max_items, self.subscription.max_bytes)

    def _take(self, record: dict[str, Any], encoded: bytes) -> None:
        pieces = [Piece(encoded, record)]
        if self._behaviour.split_oversized:
            room = self.subscription.max_bytes - self._open.size
            pieces = cut(encoded, record, room=room, max_bytes=self.subscription.max_bytes)
        for piece in pieces:
            if self._open.due_at is None:
                self._start_timer(self._open)
            self._open.add(piece)
            self._waiting_bytes += len(piece.encoded)
            if self._open.full:
                self._close_open()
        if self._hurried:
            self._changed.set()

    def _start_timer(self, batch: Batch) -> None:
        batch.due_at = self._loop.time() + self.subscription.timeout_ms / MILLISECONDS
        self._timer = self._loop.call_at(batch.due_at, self._time_is_up, batch)

    def _time_is_up(self, batch: Batch) -> None:
        if batch is self._open and self._behaviour.drop_on_busy:
            self._close_open()
        self._changed.set()

    def _close_open(self) -> None:
        batch, self._open = self._open, self._new_batch()
        if self._timer is not None:
            self._timer.cancel()
        if self._behaviour.drop_on_busy and (self._busy or self._closed):
            self._forget(batch)
            self._drop(batch.records, batch.size, platform_events.TOO_SLOW)
            return
        self._closed.append(batch)
        self._changed.set()

    def _forget(self, batch: Batch) -> None:
        self._waiting_bytes -= batch.size

    def _drop(self, records: list[dict[str, Any]], size: int, why: str) -> None:
        self.dropped.extend(records)
        self._unannounced.append((len(records), size, why))
        self._timeline.add("drop", self.subscription.name, records=len(records), bytes=size, why=why)
        if self._behaviour.drop_on_busy:  # AWS's emulator announces at once, even if that will be dropped in its turn
            self._announce_drops()

    def _announce_drops(self) -> None:
        """Put what was dropped on record, once per reason, ahead of the next record that gets in."""
        unannounced, self._unannounced = self._unannounced, []
        for reason in dict.fromkeys(why for _, _, why in unannounced):
            counts = [(records, size) for records, size, why in unannounced if why == reason]
            announcement = platform_events.logs_dropped(
                records=sum(n for n, _ in counts), size_bytes=sum(b for _, b in counts), reason=reason
            )
            event = platform_events.Event(self._now(), platform_events.LOGS_DROPPED, announcement)
            record = telling(event, self.subscription, log_format=self._log_format)
            if record is not None:
                self.sent.append(record)
                self._take(record, encode(record))

    def _is_due(self) -> bool:
        if self._frozen:
            return False
        if self._closed:
            return True
        if self._open.due_at is None:
            return False
        return self._hurried or self._open.due_at <= self._loop.time()

    async def _send_forever(self) -> None:
        while True:
            await self._until(self._is_due)
            batch = self._take_due()
            self._busy = True
            await self._deliver(batch)
            self._busy = False
            self._forget(batch)
            self._announce_drops()

    def _take_due(self) -> Batch:
        if self._closed:
            return self._closed.popleft()
        batch, self._open = self._open, self._new_batch()
        return batch

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _deliver(self, batch: Batch) -> None:
        body = batch.body()
        pause = self._behaviour.retry_first_seconds
        while True:
            await self._until(lambda: not self._frozen)
            outcome = await self._attempt(batch, body)
            if _accepted(outcome):
                return
            if self._behaviour.drop_on_busy:
                self._drop(batch.records, batch.size, f"could not send events: {outcome}")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._behaviour.retry_longest_seconds)

    async def _attempt(self, batch: Batch, body: bytes) -> int | str:
        started = self._loop.time()
        outcome = await self._poster.post(body)
        if _accepted(outcome):
            self.delivered.extend(batch.records)
        self._timeline.add(
            "delivery",
            self.subscription.name,
            records=len(batch.records),
            bytes=len(body),
            status=outcome,
            duration_ms=round((self._loop.time() - started) * MILLISECONDS, 3),
        )
        return outcome


def _accepted(outcome: int | str) -> bool:
    return isinstance(outcome, int) and outcome < LOWEST_ERROR_STATUS
