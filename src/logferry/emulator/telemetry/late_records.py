"""Records that reach a subscriber only after the SHUTDOWN event.

Guarantees:
- A record of a delayed type that is pending at the start of the Shutdown phase, or is produced during it,
  is delivered its delay after the SHUTDOWN event. Without a SHUTDOWN event it is not delivered.
- The order of records with the same delay is kept.

Design: on Lambda the last `platform.report` arrives up to 40 ms after SHUTDOWN (elastic/apm-aws-lambda#347).
Lines of a SIGTERM handler and of a crashed runtime take the same way through the platform's buffer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class LateRecords:
    """The withheld records of one subscriber. `deliver` is called for each when its delay has passed."""

    def __init__(self, delays: Mapping[str, float], deliver: Callable[[dict[str, Any], bytes], None]) -> None:
        self._delays = delays
        self._deliver = deliver
        self._withheld: list[tuple[dict[str, Any], bytes]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._shutting_down = False
        self._shutdown_sent_at: float | None = None

    def begin_shutdown(self) -> None:
        """Withhold records of delayed types from now on."""
        self._shutting_down = bool(self._delays)

    def matches(self, record: dict[str, Any]) -> bool:
        """Return whether the record has to be withheld now."""
        return self._shutting_down and self._delay(record) is not None

    def withhold(self, record: dict[str, Any], encoded: bytes) -> None:
        """Keep a record until its delay after the SHUTDOWN event has passed."""
        if self._shutdown_sent_at is None:
            self._withheld.append((record, encoded))
        else:
            self._schedule(record, encoded, self._shutdown_sent_at)

    def shutdown_sent(self) -> None:
        """Start the delays, because the extension has received SHUTDOWN."""
        self._shutdown_sent_at = asyncio.get_running_loop().time()
        withheld, self._withheld = self._withheld, []
        for record, encoded in withheld:
            self._schedule(record, encoded, self._shutdown_sent_at)

    def close(self) -> None:
        """Discard the withheld records."""
        for timer in self._timers:
            timer.cancel()

    def _schedule(self, record: dict[str, Any], encoded: bytes, shutdown_sent_at: float) -> None:
        due_at = shutdown_sent_at + (self._delay(record) or 0.0)
        self._timers.append(asyncio.get_running_loop().call_at(due_at, self._deliver, record, encoded))

    def _delay(self, record: dict[str, Any]) -> float | None:
        """Return the delay of the type, or else of its category (platform, function or extension)."""
        type_ = str(record["type"])
        return self._delays.get(type_, self._delays.get(type_.partition(".")[0]))
