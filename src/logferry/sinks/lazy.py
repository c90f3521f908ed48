"""A sink that is opened with its first use.

Guarantees:
- Before the first `connect` or `put`, nothing of the sink is imported, and nothing is connected.
- The sink is opened once, in a thread. The time limit of the caller therefore applies to its imports too, and the
  event loop answers batches meanwhile. A cancelled caller does not end the thread, and the next one awaits it.
- If it cannot be opened, for example because no file descriptor is left, the next call tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from logferry.errors import SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink


class LazySink:
    """The sink that `open_sink` returns, opened when it is needed."""

    def __init__(self, open_sink: Callable[[], Sink], *, name: str) -> None:
        """`name` is the destination in messages."""
        self._open = open_sink
        self._name = name
        self._opening: asyncio.Task[Sink] | None = None

    def __repr__(self) -> str:
        return f"<LazySink {self._name}>"

    def __str__(self) -> str:
        return self._name

    async def connect(self) -> None:
        """Open the sink, and prepare it for the next `put`."""
        with contextlib.suppress(SinkUnavailable):
            await (await self._opened()).connect()

    async def put(self, stored: StoredObject) -> None:
        """Open the sink, and store one object. Raises SinkUnavailable or SinkRejected."""
        await (await self._opened()).put(stored)

    async def _opened(self) -> Sink:
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._open))
        try:
            return await asyncio.shield(self._opening)
        except (ImportError, OSError, RuntimeError) as error:  # no descriptor, no memory, or no thread is left
            self._opening = None
            raise SinkUnavailable(f"{self._name} cannot be opened: {error}") from error
