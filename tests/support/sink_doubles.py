"""Sinks that are named for what they do; each keeps what it holds and when it was asked.

They keep the contract that every sink keeps: `put` stores or raises. `in_flight` is how many puts are under way.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from logferry.errors import SinkRejected, SinkUnavailable
from virtual_time import freeze, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.encode import StoredObject

REMEDY = "create the bucket or correct LOGFERRY_DESTINATION"


class Takes:
    """Stores each object after that many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.holds: dict[str, StoredObject] = {}
        self.asked: list[tuple[float, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connects_in = 0.0
        self.connected: list[tuple[float, float]] = []

    async def connect(self) -> None:
        """Take `connects_in` seconds; note when it was asked to, and when it had."""
        asked = round(now(), 3)
        await asyncio.sleep(self.connects_in)
        self.connected.append((asked, round(now(), 3)))

    async def put(self, stored: StoredObject) -> None:
        """Store."""
        with self._asked(stored):
            await self._take(stored)

    @contextmanager
    def _asked(self, stored: StoredObject) -> Iterator[None]:
        self.asked.append((round(now(), 3), stored.key))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    async def _take(self, stored: StoredObject) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        before = self.holds.get(stored.key)
        assert before in (None, stored), "another object under the same key"
        self.holds[stored.key] = stored

    @property
    def moments(self) -> list[float]:
        """When it was asked."""
        return [moment for moment, _ in self.asked]

    def records(self) -> list[dict[str, Any]]:
        """Every record it holds, in the order of keys."""
        bodies = [stored.body for _, stored in sorted(self.holds.items())]
        texts = [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in bodies]
        return [json.loads(line) for text in texts for line in text.decode().splitlines()]

    def lines(self) -> list[str]:
        """The function's lines it holds, in the order of keys."""
        return [str(r["record"]) for r in self.records() if r["type"] == "function"]


class Fails(Takes):
    """Stores like the others, but fails the first `times`, each kind in its own way."""

    def __init__(self, times: int = 1_000_000) -> None:
        super().__init__()
        self.times = times

    async def put(self, stored: StoredObject) -> None:
        """Fail, or store."""
        with self._asked(stored):
            if len(self.asked) <= self.times:
                await self._fail(stored)
            await self._take(stored)

    async def _fail(self, stored: StoredObject) -> None:
        raise NotImplementedError


class Stalls(Fails):
    """Never answers."""

    async def _fail(self, stored: StoredObject) -> None:
        del stored
        await asyncio.Event().wait()


class Throttles(Fails):
    """Says SlowDown."""

    async def _fail(self, stored: StoredObject) -> None:
        raise SinkUnavailable(f"{stored.key}: 503 SlowDown")


class Rejects(Fails):
    """Says that there is no such bucket, and the remedy."""

    async def _fail(self, stored: StoredObject) -> None:
        raise SinkRejected(f"{stored.key}: 404 NoSuchBucket; {REMEDY}")


class ResetsAfterStoring(Fails):
    """Stores, and then the connection breaks before it could say so."""

    def __init__(self, times: int = 1) -> None:
        super().__init__(times)

    async def _fail(self, stored: StoredObject) -> None:
        await self._take(stored)
        raise SinkUnavailable(f"{stored.key}: connection reset")


class IsFrozenInTheMiddle(Takes):
    """The environment is frozen that long while the first put is under way, and its connection is dead after it."""

    async def put(self, stored: StoredObject) -> None:
        """Be frozen once, then store."""
        with self._asked(stored):
            if len(self.asked) == 1:
                freeze(self.seconds)
                await asyncio.Event().wait()
            await asyncio.sleep(0.05)
            self.holds[stored.key] = stored
