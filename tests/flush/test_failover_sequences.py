"""Any sequence of results of both destinations: nothing is lost, one upload is in flight, the first one returns."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import given, settings

from logferry.deadline import Deadline
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.flush.circuit_breaker import REJECTED_SECONDS
from logferry.flush.failover import FAILURES
from support.journal_harness import close, numbered, open_journal
from support.sink_doubles import StoringSink
from support.uploader_harness import TIMEOUT, new_uploader
from support.virtual_time import START, freeze, now, run

if TYPE_CHECKING:
    from logferry.flush.uploader import Uploader
    from logferry.journal.journal import Journal
    from logferry.records.model import StoredObject

RESULTS = (
    *("stores", "slow", "unavailable", "rejects", "rejects the object", "hangs"),
    *("stores and resets", "stores and hangs"),
)
SEQUENCES = settings(max_examples=120, deadline=None, print_blob=True)
SCHEDULING_SECONDS = 1e-6
"""Allowance for sums of floating-point numbers."""


class ScriptedSink(StoringSink):
    """A sink whose requests have given results; after the last one it stores."""

    def __init__(self, results: list[str], shared: dict[str, int]) -> None:
        super().__init__()
        self.results = results
        self.shared = shared
        """Number of uploads in flight to both sinks."""
        self.consecutive_failures = 0
        self.was_rejected = False
        self.rejected_objects: set[str] = set()
        """Keys of the objects that were rejected for their own sake."""

    async def put(self, stored: StoredObject) -> None:
        """Give the next result."""
        result = self.results.pop(0) if self.results else "stores"
        self.shared["in flight"] += 1
        assert self.shared["in flight"] == 1, "two uploads in flight"
        failed = True
        try:
            with self._request(stored):
                await self._give(result, stored)
            failed = False
        finally:
            self.shared["in flight"] -= 1
            self.consecutive_failures = self.consecutive_failures + 1 if failed else 0
            self.was_rejected = failed and result == "rejects"

    async def _give(self, result: str, stored: StoredObject) -> None:
        if result == "slow":
            await asyncio.sleep(0.7)
        if result in ("stores", "slow", "stores and resets", "stores and hangs"):
            await self._take(stored)
        if result in ("hangs", "stores and hangs"):
            await asyncio.Event().wait()
        if result == "rejects the object":
            self.rejected_objects.add(stored.key)
            error = SinkRejected(f"{stored.key}: 413")
            error.is_of_object = True
            raise error
        if result == "rejects":
            raise SinkRejected(f"{stored.key}: 403")
        if result in ("unavailable", "stores and resets"):
            raise SinkUnavailable(f"{stored.key}: 503")


class Run:
    """An uploader with two scripted destinations, and the segments that it has accepted."""

    def __init__(self, directory: Path, first: list[str], second: list[str]) -> None:
        shared = {"in flight": 0}
        self.journal: Journal = open_journal(directory)
        self.first, self.second = ScriptedSink(first, shared), ScriptedSink(second, shared)
        self.uploader: Uploader = new_uploader(self.journal, self.first, self.second)
        self.sealed = 0

    def seal(self) -> None:
        """Seal a segment with one record."""
        self.sealed += 1
        self.journal.append(numbered(self.sealed))
        self.journal.seal()

    async def step(self, action: str, seconds: float) -> None:
        """Take one step and check what always holds."""
        before = len(self.second.requests)
        failing = self.first.consecutive_failures >= FAILURES or self.first.was_rejected
        if action == "seal":
            self.seal()
        elif action == "sleep":
            await asyncio.sleep(seconds * 100)
        elif action == "freeze":
            freeze(seconds * 100)
        else:
            await self._drain(seconds, force=action == "shutdown")
        if len(self.second.requests) > before and action == "hold":
            failing |= self.first.consecutive_failures >= FAILURES or self.first.was_rejected
            used_for = {key for _, key in self.second.requests[before:]}
            assert failing or used_for <= self.first.rejected_objects, "the fallback was used without a reason"
        self.check()

    async def _drain(self, seconds: float, *, force: bool) -> None:
        began = now()
        deadline = Deadline(START + began + seconds)
        if not force:
            deadline = self.uploader.hold_deadline(deadline)
            assert deadline.at <= START + began + min(seconds, TIMEOUT) + SCHEDULING_SECONDS
        await self.uploader.drain(deadline, force=force)
        assert START + now() <= deadline.at + SCHEDULING_SECONDS, "held beyond the deadline"
        assert self.first.in_flight == self.second.in_flight == 0

    def check(self) -> None:
        """Assert that each segment that is not in the journal was stored, and that only the second sink has marks."""
        waiting = {segment.number for segment in self.journal.sealed}
        stored = {int(key[-17:-10]) for key in {*self.first.objects, *self.second.objects}}
        assert {*range(1, self.sealed + 1)} <= waiting | stored
        assert not any("fallback" in stored.metadata for stored in self.first.objects.values())
        assert all(stored.metadata["fallback"] == "true" for stored in self.second.objects.values())

    async def recover(self) -> None:
        """Let both destinations work again: everything is stored, and the first destination is used."""
        self.first.results.clear()
        self.second.results.clear()
        await asyncio.sleep(2 * REJECTED_SECONDS)
        await self.uploader.drain(Deadline(START + now() + 60))
        assert self.journal.sealed == ()
        before = len(self.second.requests)
        self.seal()
        await self.uploader.drain(Deadline(START + now() + 60))
        assert len(self.second.requests) == before, "the first destination is used again"
        self.check()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["seal", "seal", "hold", "hold", "hold", "shutdown", "sleep", "freeze"]),
        st.floats(min_value=0.05, max_value=10),
    ),
    max_size=30,
)


@SEQUENCES
@given(
    first=st.lists(st.sampled_from(RESULTS), max_size=15),
    second=st.lists(st.sampled_from(RESULTS), max_size=15),
    steps=STEPS,
)
def test_sequences_of_results_lose_nothing(first: list[str], second: list[str], steps: list[Any]) -> None:
    """A segment leaves the journal only after one of the destinations has stored it."""

    async def scenario(directory: Path) -> None:
        it = Run(directory, first, second)
        try:
            for action, seconds in steps:
                await it.step(action, seconds)
            await it.recover()
        finally:
            close(it.journal)

    with tempfile.TemporaryDirectory() as directory:
        run(scenario(Path(directory)))
