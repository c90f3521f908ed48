"""Virtual time: an event loop whose clock jumps to the next timer when every task is blocked.

An hour of waiting takes no time, and the time of each step is exact, so that a test can assert "at
once". If every task is blocked and no timer is set, nothing could ever happen again. The loop then
raises `Deadlock` instead of blocking.

Before the clock jumps, descriptors are polled once. Sockets with both ends in this process (a
socket pair) therefore work. Data that another process or thread is about to send are not awaited,
so such components are tested in real time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

START = 10_000.0
"""Time on the clock when a loop begins, in seconds. It is not zero, so that a time is not mistaken for a duration."""


class Deadlock(AssertionError):
    """Every task waits, and no timer is set."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that polls its descriptors once, and moves the clock instead of waiting."""

    now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("every task is blocked, and no timer is set")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the time of the virtual clock, in seconds."""
        return self._jumping.now

    def freeze(self, seconds: float) -> None:
        """Let time pass in which no task runs, as between two invocations."""
        self._jumping.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a scenario on virtual time to its end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Return the seconds since the loop began."""
    return asyncio.get_running_loop().time() - START


def freeze(seconds: float) -> None:
    """Freeze the environment that runs on virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.freeze(seconds)
