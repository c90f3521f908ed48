"""Delivery to one subscriber: buffering, one request at a time, retry in order.

Guarantees:
- Each record is pending, in the request in progress, delivered (answered with a status below 400) or
  dropped. The sum equals the records sent.
- At most one request is in progress. Meanwhile records collect in the open batch, which is sent when it
  is due or full and the subscriber is free.
- No request starts while the subscriber is frozen.
- `flush` returns when no record is pending, except for those that `late_records` withholds.
- Dropped records are reported in `platform.logsDropped` before the next record that is accepted.

Design: with `drop_on_busy` the subscriber behaves as AWS's Managed Instances emulator
(`telemetry/internal/subscriber.go`). A batch that is due during a request is dropped, and so is a
batch whose request fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.batch import Batch, Fragment, encode, split
from logferry.emulator.telemetry.event_schema import render
from logferry.emulator.telemetry.http_post import HttpPoster
from logferry.emulator.telemetry.late_records import LateRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from logferry.emulator.environment_config import TelemetryBehaviour
    from logferry.emulator.telemetry.platform_events import Event
    from logferry.emulator.telemetry.subscription import Subscription
    from logferry.emulator.timeline import Timeline

LOWEST_ERROR_STATUS = 400


class Subscriber:
    """An active subscription; `now` returns seconds since the epoch for `platform.logsDropped`."""

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
        self._poster = HttpPoster(subscription, session=session, timeout_seconds=behaviour.post_timeout_seconds)
        self._behaviour = behaviour
        self._log_format = log_format
        self._timeline = timeline
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._open = self._new_batch()
        self._closed: deque[Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._pending_bytes = 0
        self._unreported_drops: list[tuple[int, int, str]] = []
        self._busy = False
        self._frozen = False
        self._immediate = False
        self._changed = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._late = LateRecords(behaviour.shutdown_delay_seconds, self._append)
        self._task = asyncio.create_task(self._send_loop(), name=f"deliver to {subscription.name}")

    def __repr__(self) -> str:
        return (
            f"<Subscriber {self.subscription.name}: {len(self.sent)} records sent, {len(self.delivered)} delivered, "
            f"{len(self.dropped)} dropped, {self._pending_bytes} bytes pending{', frozen' if self._frozen else ''}>"
        )

    def enqueue(self, event: Event) -> None:
        """Add an event that the subscription selects; drop it if the buffer is full."""
        record = render(event, self.subscription, log_format=self._log_format)
        if record is None:
            return
        self.sent.append(record)
        encoded = encode(record)
        if self._late.matches(record):
            self._late.withhold(record, encoded)
            return
        if self._pending_bytes + len(encoded) > self._behaviour.buffer_limit_bytes:
            self._drop([record], len(encoded), platform_events.TOO_SLOW)
            return
        self._report_drops()
        self._append(record, encoded)

    def freeze(self) -> None:
        """Start no request, and stop the timeout of a request in progress."""
        self._frozen = True
        self._poster.freeze()

    def thaw(self) -> None:
        """Resume; a batch that became due in the meantime is sent at once."""
        if not self._frozen:
            return
        self._frozen = False
        self._poster.thaw()
        self._changed.set()

    def deliver_immediately(self) -> None:
        """Treat every batch as due from now on."""
        self._immediate = True
        self._changed.set()

    def begin_shutdown(self) -> None:
        """Deliver without buffering from now on, and withhold the records of delayed types."""
        self._late.begin_shutdown()
        for batch in (*self._closed, self._open):
            for fragment in batch.remove(self._late.matches):
                self._add_pending(-len(fragment.encoded))
                self._late.withhold(fragment.completes or {}, fragment.encoded)
        self._closed = deque(batch for batch in self._closed if batch.fragments)
        self.deliver_immediately()

    def shutdown_sent(self) -> None:
        """Start the delays of the withheld records."""
        self._late.shutdown_sent()

    async def flush(self) -> None:
        """Return when no record is pending."""
        await self._flushed.wait()

    async def close(self) -> None:
        """Discard pending records; raise an error of the send loop, which is a fault of the emulator."""
        self._task.cancel()
        self._late.close()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    def _new_batch(self) -> Batch:
        return Batch(self.subscription.max_items, self.subscription.max_bytes)

    def _append(self, record: dict[str, Any], encoded: bytes) -> None:
        fragments = [Fragment(encoded, record)]
        if self._behaviour.split_oversized:
            space = self.subscription.max_bytes - self._open.size
            fragments = split(encoded, record, space=space, max_bytes=self.subscription.max_bytes)
        for fragment in fragments:
            if self._open.due_at is None:
                self._start_timer(self._open)
            self._open.add(fragment)
            self._add_pending(len(fragment.encoded))
            if self._open.full:
                self._close_open()
        if self._immediate:
            self._changed.set()

    def _start_timer(self, batch: Batch) -> None:
        batch.due_at = self._loop.time() + self.subscription.timeout_ms / MILLISECONDS
        self._timer = self._loop.call_at(batch.due_at, self._on_timer, batch)

    def _on_timer(self, batch: Batch) -> None:
        if batch is self._open and batch.fragments and self._behaviour.drop_on_busy:
            self._close_open()
        self._changed.set()

    def _close_open(self) -> None:
        batch, self._open = self._open, self._new_batch()
        if self._timer is not None:
            self._timer.cancel()
        if self._behaviour.drop_on_busy and (self._busy or self._closed):
            self._release(batch)
            self._drop(batch.records, batch.size, platform_events.TOO_SLOW)
            return
        self._closed.append(batch)
        self._changed.set()

    def _release(self, batch: Batch) -> None:
        self._add_pending(-batch.size)

    def _add_pending(self, size: int) -> None:
        self._pending_bytes += size
        if self._pending_bytes:
            self._flushed.clear()
        else:
            self._flushed.set()

    def _drop(self, records: list[dict[str, Any]], size: int, why: str) -> None:
        self.dropped.extend(records)
        self._unreported_drops.append((len(records), size, why))
        self._timeline.add("drop", self.subscription.name, records=len(records), bytes=size, why=why)
        if self._behaviour.drop_on_busy:  # AWS's emulator reports at once, even if the report is dropped as well
            self._report_drops()

    def _report_drops(self) -> None:
        """Append one `platform.logsDropped` for each reason."""
        unreported, self._unreported_drops = self._unreported_drops, []
        for reason in dict.fromkeys(why for _, _, why in unreported):
            counts = [(records, size) for records, size, why in unreported if why == reason]
            report = platform_events.logs_dropped(
                records=sum(n for n, _ in counts), size_bytes=sum(b for _, b in counts), reason=reason
            )
            event = platform_events.Event(self._now(), platform_events.LOGS_DROPPED, report)
            record = render(event, self.subscription, log_format=self._log_format)
            if record is not None:
                self.sent.append(record)
                self._append(record, encode(record))

    def _is_due(self) -> bool:
        if self._frozen:
            return False
        if self._closed:
            return True
        if self._open.due_at is None:
            return False
        return self._immediate or self._open.due_at <= self._loop.time()

    async def _send_loop(self) -> None:
        while True:
            await self._wait_until(self._is_due)
            batch = self._take_due()
            self._busy = True
            await self._deliver(batch)
            self._busy = False
            self._release(batch)
            self._report_drops()

    def _take_due(self) -> Batch:
        if self._closed:
            return self._closed.popleft()
        batch, self._open = self._open, self._new_batch()
        return batch

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _deliver(self, batch: Batch) -> None:
        body = batch.body()
        pause = self._behaviour.retry_first_seconds
        while True:
            await self._wait_until(lambda: not self._frozen)
            outcome = await self._attempt(batch, body)
            if _is_accepted(outcome):
                return
            if self._behaviour.drop_on_busy:
                self._drop(batch.records, batch.size, f"could not send events: {outcome}")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._behaviour.retry_longest_seconds)

    async def _attempt(self, batch: Batch, body: bytes) -> int | str:
        started = self._loop.time()
        outcome = await self._poster.post(body)
        if _is_accepted(outcome):
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


def _is_accepted(outcome: int | str) -> bool:
    return isinstance(outcome, int) and outcome < LOWEST_ERROR_STATUS
