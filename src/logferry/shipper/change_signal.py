"""Wake-up of waiting tasks by accepted batches and new events.

Guarantees:
- Every wait has a deadline.
- A task is woken by the first change after which its condition holds, and by no other change.

Design: most changes matter to no task. A condition costs less to check than a task to wake, and the process that just
received a batch shares its core with the function.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry.loop_clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.deadline import Deadline


class ChangeSignal:
    """A signal for all tasks that wait for a change of the stream."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def notify(self) -> None:
        """Wake every task whose condition holds."""
        for condition, woken in self._waiting:
            if not woken.done() and condition():
                woken.set_result(None)

    async def wait(self, deadline: Deadline) -> None:
        """Wait for the next change, at most until the deadline."""
        await self._wait(_always, deadline)

    async def wait_until(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until the condition holds, at most until the deadline; return whether it holds.

        The condition is checked at each change, without a task, and must not raise.
        """
        while not condition():
            if not deadline.remaining(loop_time()):
                return False
            await self._wait(condition, deadline)
        return True

    async def _wait(self, condition: Callable[[], bool], deadline: Deadline) -> None:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        waiter = (condition, woken)
        self._waiting.append(waiter)
        timer = loop.call_at(deadline.at, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._waiting.remove(waiter)


def _always() -> bool:
    return True


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
