"""The wall clock of the emulated platform.

Guarantees:
- The times in records follow this clock, so a test can pass an hour or midnight without waiting.
- `deadlineMs` stays on the clock of the machine, because the processes compare it with their own clock.
"""

from __future__ import annotations

import time


class PlatformClock:
    """A clock that runs at normal speed from `start`, in seconds since the epoch; None is the current time."""

    def __init__(self, start: float | None = None) -> None:
        self._offset = 0.0
        if start is not None:
            self.set(start)

    def __repr__(self) -> str:
        return f"<PlatformClock {self._offset:+.3f} s>"

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self._offset

    def set(self, seconds: float) -> None:
        """Set the clock to `seconds` since the epoch."""
        self._offset = seconds - time.time()

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._offset += seconds
