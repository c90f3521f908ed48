"""An intake of events with a real pipe and a real journal; the test is the function and the platform."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from logferry.instrumentation.event_attribution import EventAttribution
from logferry.instrumentation.event_intake import EventIntake
from logferry.instrumentation.event_losses import EventLosses
from logferry.instrumentation.event_pipe import EventPipe
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.records.encoder import encode
from logferry.records.invocations import Invocations
from logferry.records.object_key import DEFAULT_KEY
from support.format_1 import read_object
from support.journal_harness import ROOMY, START_MS, close, open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TYPES = frozenset({"platform", "function"})


class EventHarness:
    """One execution environment without processes."""

    def __init__(
        self, directory: Path, *, limit: int = 1000, managed: bool = False, store_calls: bool = True, spool: int = ROOMY
    ) -> None:
        directory.mkdir(exist_ok=True)
        os.mkfifo(directory / "events", 0o600)
        self.now_ms = START_MS + 1000
        self.invocations = Invocations()
        self.journal = open_journal(directory / "spool", clock_ms=lambda: self.now_ms, limit_bytes=spool)
        self.platform = Intake(
            journal=self.journal, deduplicator=Deduplicator(), invocations=self.invocations, managed=managed
        )
        self.seen: list[tuple[str, Mapping[str, Any], str | None]] = []
        self.lost: list[tuple[str, int, str | None]] = []
        self.warnings: list[tuple[str, dict[str, Any]]] = []
        self._reading = os.open(directory / "events", os.O_RDWR | os.O_NONBLOCK)
        self.writing = os.open(directory / "events", os.O_WRONLY | os.O_NONBLOCK)
        self.intake = EventIntake(
            pipe=EventPipe(self._reading),
            store=self.platform.store,
            attribution=EventAttribution(
                started=self.invocations.started, ended=self.invocations.ended, concurrent=managed
            ),
            losses=EventLosses(
                on_lost=lambda *loss: self.lost.append(loss),
                warn=lambda message, **details: self.warnings.append((message, details)),
            ),
            on_event=lambda *event: self.seen.append(event),
            limit=limit,
            limit_per_second=managed,
            store_calls=store_calls,
            since_ms=START_MS,
            clock_ms=lambda: self.now_ms,
        )

    # --- the function

    def write(self, *events: dict[str, Any] | bytes) -> None:
        """Write lines to the pipe."""
        for event in events:
            os.write(self.writing, event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")

    def post(self, *events: dict[str, Any]) -> None:
        """Post events as the endpoint passes them on."""
        self.intake.accept([json.dumps(event).encode() for event in events])

    # --- the platform

    def invoke(
        self, request: str, trace: str | None = None, *, deadline_ms: float | None = None, again: bool = False
    ) -> None:
        """Send INVOKE, in the order in which the extension takes it in."""
        self.intake.on_invoke(request, trace, deadline_ms=deadline_ms, invoked_ms=self.now_ms, nothing_waited=again)
        self.invocations.began(request)
        self.journal.announce(request)

    def deliver(self, kind: str, record: Any) -> None:
        """Deliver a record of the platform."""
        self.platform.accept(
            json.dumps([{"time": "2026-11-18T11:06:41.000Z", "type": kind, "record": record}]).encode()
        )

    def end(self, request: str) -> None:
        """Deliver the end of an invocation."""
        self.deliver("platform.runtimeDone", {"requestId": request})

    # --- the result

    def stored(self) -> list[dict[str, Any]]:
        """Read everything, seal, encode, and return the records of all objects."""
        self.intake.collect()
        self.journal.seal()
        found: list[dict[str, Any]] = []
        for segment in self.journal.sealed:
            with self.journal.reading(segment) as (header, bodies):
                made = encode(header, bodies, final=False, key=DEFAULT_KEY, compress=False, types=TYPES)
            found += read_object(made.body, made.metadata)[0]
        return found

    def requests(self) -> list[tuple[Any, str | None, str | None]]:
        """Return content, request and source of each stored event."""
        return [
            (
                each["record"].get("event") or each["record"].get("metric") or each["record"].get("method"),
                each.get("requestId"),
                each.get("requestIdSource"),
            )
            for each in self.stored()
            if each["type"] in ("logferry.event", "logferry.metric", "logferry.call")
        ]

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reading)
        os.close(self.writing)
        close(self.journal)


@contextmanager
def event_harness(directory: Path, **options: Any) -> Iterator[EventHarness]:
    """Provide a harness and close it."""
    it = EventHarness(directory, **options)
    try:
        yield it
    finally:
        it.close()
