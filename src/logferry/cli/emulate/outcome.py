"""Result of an emulated session: invocations, shutdown, timeline, and record counts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logferry.emulator.results import InvokeResult, ShutdownResult
    from logferry.emulator.timeline import Entry


@dataclass(frozen=True)
class Outcome:
    """The result of a session."""

    invocations: Sequence[InvokeResult]
    shutdown: ShutdownResult
    timeline: Sequence[Entry]
    records_sent: int
    records_delivered: int
    records_dropped: int
    spool_left: int
    messages: Sequence[str]
    """Lines that the extension printed."""

    @property
    def failed(self) -> int:
        """The number of invocations without success."""
        return sum(result.status != "success" for result in self.invocations)

    @property
    def added_ms(self) -> list[float]:
        """The milliseconds that extensions added to each completed invocation."""
        return [result.post_runtime_ms for result in self.invocations if result.post_runtime_ms is not None]

    @property
    def median_added_ms(self) -> float:
        """The median of the added milliseconds, or 0 without a completed invocation."""
        return statistics.median(self.added_ms) if self.added_ms else 0.0
