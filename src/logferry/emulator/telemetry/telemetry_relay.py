"""Distribution of platform events to the subscribers of one sandbox.

Guarantees:
- Events of the Init phase are kept until subscriptions close. A later subscriber receives them from the
  start.
- All subscribers receive all events that their subscription selects, in order.

References: `initEventsBuffer` in aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.platform_events import Event
from logferry.emulator.telemetry.subscriber import Subscriber
from logferry.emulator.telemetry.subscription import LOGS_API

if TYPE_CHECKING:
    from collections.abc import Container

    import aiohttp

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.telemetry.subscription import Subscription
    from logferry.emulator.timeline import Timeline


class TelemetryRelay:
    """The subscribers of one sandbox."""

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        session: aiohttp.ClientSession,
        timeline: Timeline,
    ) -> None:
        self._config = config
        self._session = session
        self._timeline = timeline
        self._now = config.clock.now
        self._init_events: list[Event] = []
        self._shutting_down = False
        self.subscribers: list[Subscriber] = []
        self.closed = False

    def __repr__(self) -> str:
        return f"<TelemetryRelay {'closed' if self.closed else 'open'}, {self.subscribers}>"

    def emit(self, type_: str, record: Any) -> None:
        """Produce an event with the current time."""
        event = Event(self._now(), type_, record)
        if not self.closed:
            self._init_events.append(event)
        for subscriber in self.subscribers:
            subscriber.enqueue(event)

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscriber and replay the events of the Init phase; raise ApiError after that phase."""
        self.raise_if_closed(subscription.api)
        subscriber = Subscriber(
            subscription,
            session=self._session,
            behaviour=self._config.telemetry,
            log_format=self._config.log_format,
            timeline=self._timeline,
            now=self._now,
        )
        for event in self._init_events:
            subscriber.enqueue(event)
        self.subscribers.append(subscriber)
        if self._shutting_down:
            subscriber.begin_shutdown()
        kind = (
            platform_events.LOGS_SUBSCRIPTION
            if subscription.api == LOGS_API
            else platform_events.TELEMETRY_SUBSCRIPTION
        )
        self.emit(kind, platform_events.telemetry_subscription(name=subscription.name, types=subscription.types))

    def raise_if_closed(self, api: str) -> None:
        """Raise ApiError after the Init phase."""
        if self.closed:
            raise ApiError(f"{api}.SubscriptionClosed", f"{api} API subscription is closed")

    def close_subscriptions(self) -> None:
        """Reject further subscriptions, at the end of the Init phase."""
        self.closed = True
        self._init_events.clear()

    def freeze(self) -> None:
        """Suspend all deliveries."""
        for subscriber in self.subscribers:
            subscriber.freeze()

    def thaw(self) -> None:
        """Resume all deliveries."""
        for subscriber in self.subscribers:
            subscriber.thaw()

    def begin_shutdown(self) -> None:
        """Deliver all pending and further records without buffering, except for those with a delay."""
        self._shutting_down = True
        for subscriber in self.subscribers:
            subscriber.begin_shutdown()

    def shutdown_sent(self) -> None:
        """Start the delays of late records, because the extensions have received SHUTDOWN."""
        for subscriber in self.subscribers:
            subscriber.shutdown_sent()

    async def flush(self, names: Container[str], *, deadline: float) -> None:
        """Return when the subscribers with these names have no pending record, or at `deadline`."""
        flushes = [subscriber.flush() for subscriber in self.subscribers if subscriber.subscription.name in names]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.gather(*flushes)

    async def close(self) -> None:
        """Stop all deliveries."""
        await asyncio.gather(*(subscriber.close() for subscriber in self.subscribers))
