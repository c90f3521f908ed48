"""From whatever happens on the platform to those who asked to be told.

Events of the init phase are kept until subscriptions close, and told to a late subscriber from the start
(`initEventsBuffer` of aws-lambda-runtime-interface-emulator). Lines also go to the console, subscription or not, as
they go to CloudWatch.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from logferry.emulator.apis.api_error import RefusalError
from logferry.emulator.telemetry import platform_events
from logferry.emulator.telemetry.platform_events import Event
from logferry.emulator.telemetry.subscriber import Subscriber
from logferry.emulator.telemetry.subscription import LOGS_API

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from logferry.emulator.environment_config import EnvironmentConfig
    from logferry.emulator.telemetry.subscription import Subscription
    from logferry.emulator.timeline import Timeline


class TelemetryRelay:
    """The subscribers of one life of the environment. `now` is a seam for tests: seconds since the epoch."""

    def __init__(
        self,
        config: EnvironmentConfig,
        *,
        session: aiohttp.ClientSession,
        timeline: Timeline,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._session = session
        self._timeline = timeline
        self._now = now
        self._init_events: list[Event] = []
        self._hurried = False
        self.subscribers: list[Subscriber] = []
        self.closed = False

    def __repr__(self) -> str:
        return f"<TelemetryRelay {'closed' if self.closed else 'open'}, {self.subscribers}>"

    def emit(self, type_: str, record: Any) -> None:
        """Something happened, now."""
        event = Event(self._now(), type_, record)
        if not self.closed:
            self._init_events.append(event)
        for subscriber in self.subscribers:
            subscriber.offer(event)

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscriber and tell it what it has missed. Raises RefusalError after init."""
        self.refuse_if_closed(subscription.api)
        subscriber = Subscriber(
            subscription,
            session=self._session,
            behaviour=self._config.telemetry,
            log_format=self._config.log_format,
            timeline=self._timeline,
            now=self._now,
        )
        for event in self._init_events:
            subscriber.offer(event)
        self.subscribers.append(subscriber)
        if self._hurried:
            subscriber.shorten_deadline()
        kind = (
            platform_events.LOGS_SUBSCRIPTION
            if subscription.api == LOGS_API
            else platform_events.TELEMETRY_SUBSCRIPTION
        )
        self.emit(kind, platform_events.telemetry_subscription(name=subscription.name, types=subscription.types))

    def refuse_if_closed(self, api: str) -> None:
        """Raise RefusalError when init is over."""
        if self.closed:
            raise RefusalError(f"{api}.SubscriptionClosed", f"{api} API subscription is closed")

    def close_subscriptions(self) -> None:
        """Init is over: nobody joins any more."""
        self.closed = True
        self._init_events.clear()

    def freeze(self) -> None:
        """Hold every delivery."""
        for subscriber in self.subscribers:
            subscriber.freeze()

    def thaw(self) -> None:
        """Deliver again."""
        for subscriber in self.subscribers:
            subscriber.thaw()

    def shorten_deadline(self) -> None:
        """Deliver everything as soon as it happens: the environment is ending."""
        self._hurried = True
        for subscriber in self.subscribers:
            subscriber.shorten_deadline()

    async def close(self) -> None:
        """Stop delivering."""
        await asyncio.gather(*(subscriber.close() for subscriber in self.subscribers))
