"""Sink doubles for the behaviours of a destination; each records its objects and its requests.

They keep the contract of every sink: `put` stores or raises. `in_flight` is the number of current
puts.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from logferry.errors import SinkRejected, SinkUnavailable
from support.format_1 import CLOSING, read_lines, restored
from support.virtual_time import freeze, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.records.model import StoredObject

REMEDY = "create the bucket or correct LOGFERRY_DESTINATION"


class StoringSink:
    """A sink that stores each object after some seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.objects: dict[str, StoredObject] = {}
        self.requests: list[tuple[float, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connects_in = 0.0
        self.connected: list[tuple[float, float]] = []

    async def connect(self) -> None:
        """Take `connects_in` seconds; record the times of the request and of the connection."""
        requested = round(now(), 3)
        await asyncio.sleep(self.connects_in)
        self.connected.append((requested, round(now(), 3)))

    async def put(self, stored: StoredObject) -> None:
        """Store an object."""
        with self._request(stored):
            await self._take(stored)

    @contextmanager
    def _request(self, stored: StoredObject) -> Iterator[None]:
        self.requests.append((round(now(), 3), stored.key))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    async def _take(self, stored: StoredObject) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        before = self.objects.get(stored.key)
        assert before in (None, stored), "another object under the same key"
        self.objects[stored.key] = stored

    @property
    def timings(self) -> list[float]:
        """The times of the requests."""
        return [timing for timing, _ in self.requests]

    def records(self) -> list[dict[str, Any]]:
        """Return every stored record, in the order of the keys."""
        bodies = [stored.body for _, stored in sorted(self.objects.items())]
        lines = [line for body in bodies for line in read_lines(body)]
        return [restored(line) for line in lines if line["type"] not in CLOSING]

    def lines(self) -> list[str]:
        """Return the stored lines of the function, in the order of the keys."""
        return [str(r["record"]) for r in self.records() if r["type"] == "function"]


class SlowSink(StoringSink):
    """A sink behind a network of so many bytes per second."""

    def __init__(self, bytes_per_second: float) -> None:
        super().__init__()
        self.bytes_per_second = bytes_per_second

    async def _take(self, stored: StoredObject) -> None:
        await asyncio.sleep(len(stored.body) / self.bytes_per_second)
        await super()._take(stored)


class FailingSink(StoringSink):
    """A sink that fails the first requests, and then stores like the others."""

    def __init__(self, times: int = 1_000_000) -> None:
        super().__init__()
        self.times = times

    async def put(self, stored: StoredObject) -> None:
        """Fail, or store an object."""
        with self._request(stored):
            if len(self.requests) <= self.times:
                await self._fail(stored)
            await self._take(stored)

    async def _fail(self, stored: StoredObject) -> None:
        raise NotImplementedError


class StallingSink(FailingSink):
    """A sink that never responds."""

    async def _fail(self, stored: StoredObject) -> None:
        del stored
        await asyncio.Event().wait()


class ThrottlingSink(FailingSink):
    """A sink that responds 503 SlowDown."""

    async def _fail(self, stored: StoredObject) -> None:
        raise SinkUnavailable(f"{stored.key}: 503 SlowDown")


class RejectingSink(FailingSink):
    """A sink whose bucket is missing; its message has the remedy."""

    async def _fail(self, stored: StoredObject) -> None:
        raise SinkRejected(f"{stored.key}: 404 NoSuchBucket; {REMEDY}")


class RejectingObjectsSink(StoringSink):
    """A sink that rejects the objects of some segments."""

    def __init__(self, *rejected: int) -> None:
        super().__init__()
        self.rejected = set(rejected)
        self.segments: list[int] = []

    async def _take(self, stored: StoredObject) -> None:
        number = int(stored.metadata["segment"])
        self.segments.append(number)
        if number in self.rejected:
            error = SinkRejected(f"{stored.key}: 413; lower LOGFERRY_OBJECT_BYTES")
            error.is_of_object = True
            raise error
        await super()._take(stored)


class ResetAfterStoringSink(FailingSink):
    """A sink that stores the object and loses the connection before the response."""

    def __init__(self, times: int = 1) -> None:
        super().__init__(times)

    async def _fail(self, stored: StoredObject) -> None:
        await self._take(stored)
        raise SinkUnavailable(f"{stored.key}: connection reset")


class FreezingSink(StoringSink):
    """A sink whose first request is frozen for some seconds; afterwards its connection is dead."""

    async def put(self, stored: StoredObject) -> None:
        """Freeze once, then store."""
        with self._request(stored):
            if len(self.requests) == 1:
                freeze(self.seconds)
                await asyncio.Event().wait()
            await asyncio.sleep(0.05)
            self.objects[stored.key] = stored
