"""Wake-up of waiting tasks by accepted batches and new events.

Guarantees: every wait has a deadline, and a task that waits sees each change that follows the start of its wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.deadline import Deadline


class ChangeSignal:
    """A signal for all tasks that wait for a change of the stream."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wake every waiting task."""
        self._changed.set()

    async def wait(self, deadline: Deadline) -> None:
        """Wait for the next change, at most until the deadline.

        A timer that wakes all tasks costs less than a timeout context. Each task checks its condition again anyway,
        and an invocation contains about ten of these waits.
        """
        self._changed.clear()
        timer = asyncio.get_running_loop().call_at(deadline.at, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def wait_until(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until the condition holds, at most until the deadline; return whether it holds."""
        while not condition():
            if not deadline.remaining(asyncio.get_running_loop().time()):
                return False
            await self.wait(deadline)
        return True
