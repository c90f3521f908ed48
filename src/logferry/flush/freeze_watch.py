"""Detection of a freeze of the execution environment while an upload is in flight.

Guarantees:
- The callback runs in the first step of the event loop after a freeze of more than `LATE_SECONDS`.

Design: nothing reports a freeze to a process. A timer that fires late is the only sign, and the
timer of the upload's limit may be due much later. A connection from before a freeze is usually
dead, and waiting for it would extend the invocation that ended the freeze.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS = 0.5
"""Interval of the timer, in seconds."""
LATE_SECONDS = 1.0
"""Delay of the timer that indicates a freeze, in seconds. A busy machine delays it less."""


class FreezeWatch:
    """A timer that runs while the context is active."""

    __slots__ = ("_loop", "_on_thaw", "_timer")

    def __init__(self, on_thaw: Callable[[], None]) -> None:
        self._on_thaw = on_thaw
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        self._start()

    def __exit__(self, *_exception: object) -> None:
        self._timer.cancel()

    def _start(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        late = self._loop.time() - self._timer.when()
        self._start()
        if late > LATE_SECONDS:
            self._on_thaw()
