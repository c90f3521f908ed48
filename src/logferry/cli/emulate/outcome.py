"""Result of an emulated session: invocations, output, timeline, record counts, and the faults."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.console import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logferry.emulator.results import InvokeResult, ShutdownResult
    from logferry.emulator.timeline import Entry

_ERROR = re.compile(r'logferry error: |\{"level": ?"error"')
"""Beginning of an error message of logferry, in the log formats Text and JSON."""


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
    output: Sequence[str]
    """Lines that the processes of the function printed."""

    @property
    def failed(self) -> int:
        """The number of invocations without success."""
        return sum(result.status != "success" for result in self.invocations)

    @property
    def undelivered(self) -> int:
        """The number of records that logferry did not accept."""
        return self.records_sent - self.records_delivered

    @property
    def subscribed(self) -> bool:
        """Whether the extension has subscribed to records."""
        return any(entry.kind == "subscribe" and entry.detail.get("status") == 200 for entry in self.timeline)  # noqa: PLR2004 - HTTP's number

    @property
    def faults(self) -> list[str]:
        """The reasons for an exit status other than 0."""
        errors = sum(bool(_ERROR.match(message)) for message in self.messages)
        found = [
            (self.failed, f"{counted(self.failed, 'invocation')} failed"),
            (not self.subscribed, "logferry is idle and stores no records"),
            (self.undelivered, f"{counted(self.undelivered, 'record')} not delivered to logferry"),
            (self.spool_left, f"{counted(self.spool_left, 'segment')} not stored, left in the spool"),
            (errors, f"{counted(errors, 'error message')} of logferry"),
        ]
        return [text for is_present, text in found if is_present]

    @property
    def added_ms(self) -> list[float]:
        """The milliseconds that extensions added to each completed invocation."""
        return [result.post_runtime_ms for result in self.invocations if result.post_runtime_ms is not None]

    @property
    def median_added_ms(self) -> float:
        """The median of the added milliseconds, or 0 without a completed invocation."""
        return statistics.median(self.added_ms) if self.added_ms else 0.0
