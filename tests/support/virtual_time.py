"""Virtual time: an event loop whose clock jumps to the next timer when everybody is blocked.

An hour of waiting takes no time, and what happens when is exact, so that a test can say "at once" and mean it. When all
are blocked and no timer is set nothing could ever happen again: that raises `Deadlock` instead of hanging.

Before the clock jumps, descriptors are looked at once. Sockets whose both ends are in this process (a socket pair) are
therefore real here: what was sent is there. What another process or a thread is about to send is not waited for; such
rooms are tested in real time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

START = 10_000.0
"""Seconds on the clock when a loop begins; not zero, so that nobody takes a moment for a duration."""


class Deadlock(AssertionError):
    """Everybody waits, and no timer will ever wake anybody."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at its descriptors once; instead of waiting it moves the clock."""

    now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("everybody is blocked, and no timer is set")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self._jumping.now

    def freeze(self, seconds: float) -> None:
        """Let time pass in which nobody runs, as between two invocations."""
        self._jumping.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a scenario on virtual time to its end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Seconds since the loop began."""
    return asyncio.get_running_loop().time() - START


def freeze(seconds: float) -> None:
    """Freeze the environment that is running on virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.freeze(seconds)
