"""The journal against a model, with events in any order.

Rules: delivered, waiting and reported lost together are the accepted records, each of them once. The segments of an
environment are numbered without a gap and end once. A loss is reported once, with the exact number of its records.

The model excuses only bytes that vanish outside the journal: a tail that was cut off, a file that was deleted before it
was read. The spools have any size, down to those that hold one or two segments.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logferry.errors import JournalFull, SegmentLost
from logferry.journal import frame
from logferry.journal.journal import Journal
from logferry.journal.losses import losses_in
from logferry.records import decoder
from support.journal_harness import (
    ROOMY,
    bodies_in,
    close,
    flip,
    follow,
    frames_of,
    number_of,
    numbered,
    numbers_in,
    origin,
    reports_in,
    ticking,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logferry.journal.losses import Loss
    from logferry.journal.segment import Segment

Name = tuple[str, int]
"""Environment and number of a segment."""

LIMITS = (700, 1000, 1500, 2500, 6 * 1024)
SIZES = (0, 30, 300, 1500, 3000)
REPORT_BYTES = 260
"""Upper bound for the size of a loss in a report, in bytes."""
HEADERS_BYTES = 800
"""Upper bound for the open segment, a segment with a report only, and the frame of the ledger, in bytes."""


def names_in(loss: Loss) -> list[Name]:
    """Return the segments of a loss."""
    return [(loss.environment, number) for number in range(loss.segment, loss.until + 1)]


class WatchedJournal(Journal):
    """Journal that notes which segments it discards, and which segment reports them."""

    reports: dict[Name, Name | None]

    def __init__(self, directory: Path, **wiring: Any) -> None:
        super().__init__(str(directory), **wiring)
        discard = self._backlog.discard

        def noted(gone: Sequence[Segment], lost: Iterable[Loss]) -> None:
            lost = list(lost)
            self.reports |= {name: None for loss in lost for name in names_in(loss)}
            discard(gone, lost)

        self._backlog.discard = noted  # type: ignore[method-assign]

    def _write(self, *bodies: bytes) -> bool:
        written = super()._write(*bodies)
        if written:
            here = (self.origin.environment, self._file.header.number)
            self.reports |= {name: here for body in bodies for loss in losses_in(body) for name in names_in(loss)}
        return written


class JournalModel(RuleBasedStateMachine):
    """A journal, and the state that is known from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-model-"))
        self.clock = ticking()
        self.environments = ["e1"]
        self.warnings: list[str] = []
        self.reports: dict[Name, Name | None] = {}
        self.accepted: dict[int, Name] = {}
        self.delivered: dict[Name, list[int]] = {}
        self.finals: list[Name] = []
        self.reported: list[Loss] = []
        self.damaged: dict[int, Name] = {}
        self.reported_damaged: list[Name] = []
        self.headless: set[Name] = set()
        self.maimed: set[Name] = set()
        self.vanished: set[Name] = set()
        self.cut: set[int] = set()

    @initialize(limit=st.sampled_from(LIMITS))
    def begin(self, limit: int) -> None:
        """Open a spool of that size."""
        self.limit = limit
        self.open(limit)

    def open(self, limit: int) -> None:
        """Open the journal as the newest environment."""
        WatchedJournal.reports = self.reports
        self.ended = False
        self.journal = WatchedJournal(
            self.directory,
            origin=origin(self.environments[-1]),
            limit_bytes=limit,
            clock_ms=self.clock,
            count_records=decoder.count_records,
            follow=follow,
            warn=lambda _message: None,
        )

    def reopen(self) -> None:
        """Open the directory as another process; the kernel has closed the descriptors of the previous one."""
        close(self.journal)
        if self.ended or not any(self.directory.glob(f"*-{self.environments[-1]}-*")):
            # Numbers continue from the files that are there; without files, the environment gets another name.
            # `test_known_errors` covers an environment that continues after its end.
            self.environments.append(f"e{len(self.environments) + 1}")
        self.open(self.limit)

    def teardown(self) -> None:
        """Ship all that is left, as the next process does, and compare the totals."""
        try:
            close(self.journal)
            self.environments.append("final")
            self.open(ROOMY)
            while self.journal.sealed:
                self.take_oldest()
            self.journal.seal()
            while self.journal.sealed:
                self.take_oldest()
            self.balance()
        finally:
            close(self.journal)
            shutil.rmtree(self.directory)

    # --- the shipper

    @precondition(lambda self: not self.ended)
    @rule(size=st.sampled_from(SIZES))
    def append(self, size: int) -> None:
        """Append a batch. It is accepted when `append` returns, and the spool is within its limit.

        It is refused only if the reports and the batch together exceed the limit.
        """
        number = len(self.accepted) + 1
        body = numbered(number, size=size)
        try:
            self.journal.append(body)
        except JournalFull:
            assert self.reports_at_most() * REPORT_BYTES + HEADERS_BYTES + len(body) > self.limit, "there was room"
            return
        self.accepted[number] = (self.environments[-1], self.journal._file.header.number)
        assert sum(path.stat().st_size for path in self.directory.iterdir()) <= self.limit

    @precondition(lambda self: not self.ended)
    @rule()
    def seal(self) -> None:
        """Seal: a segment results if a body or a loss waits."""
        waited, losses = self.journal.waiting_bytes, self.journal._ledger.entries
        sealed = self.journal.seal()
        assert sealed or not waited
        assert waited or losses or not sealed

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self) -> None:
        """Seal the last segment at SHUTDOWN, even an empty one, unless it is the only one."""
        number, waited = self.journal._file.header.number, self.journal.waiting_bytes or self.journal._ledger.entries
        has_an_end = any(s.final for s in self.journal.sealed if s.environment == self.environments[-1])
        sealed = self.journal.seal(last=True)
        assert bool(sealed) == bool(waited or (number > 1 and not has_an_end))
        assert sealed is None or (sealed.final and sealed.number == number)
        self.ended = True

    @precondition(lambda self: self.journal.sealed)
    @rule()
    def take_oldest(self) -> None:
        """Upload the oldest segment; if it is unreadable, its loss is recorded."""
        segment = self.journal.sealed[0]
        name = (segment.environment, segment.number)
        try:
            bodies = bodies_in(self.journal, segment)
        except SegmentLost as error:
            assert name in self.vanished | self.headless
            self.journal.lose(segment, reason=str(error))
            return
        assert name not in self.delivered
        self.delivered[name] = numbers_in(bodies)
        if segment.final:
            self.finals.append(name)
            self.ended = self.ended or segment.environment == self.environments[-1]
        self.reported += [loss for body in bodies for loss in losses_in(body)]
        self.reported_damaged += [(r["environment"], r["segment"]) for r in reports_in(bodies, "logferry.damaged")]
        self.journal.remove(segment)

    # --- faults

    @rule(torn=st.binary(min_size=1, max_size=40), at=st.floats(0, 1, exclude_max=True))
    def kill_during_an_append(self, torn: bytes, at: float) -> None:
        """SIGKILL during a write: a part of a frame that was never accepted is at the end."""
        whole = frame.head(torn) + torn
        if not self.ended:
            with Path(self.journal._file.path).open("ab") as file:
                file.write(whole[: int(at * len(whole))])
        self.reopen()

    @rule()
    def reset(self) -> None:
        """Another environment begins and finds /tmp unchanged."""
        close(self.journal)
        self.environments.append(f"e{len(self.environments) + 1}")
        self.open(self.limit)

    @precondition(lambda self: not self.ended)
    @rule(at=st.floats(0, 1))
    def cut_the_tail_and_kill(self, at: float) -> None:
        """Cut the open file at any byte behind its header: the lost bytes are unknown."""
        path = Path(self.journal._file.path)
        content = path.read_bytes()
        frames = frames_of(content)
        floor = max(f.end for f in frames if f is frames[0] or number_of(f.body) is None)
        cut = floor + int(at * (len(content) - floor))
        self.cut |= {n for f in frames[1:] if f.end > cut and (n := number_of(f.body)) is not None}
        with path.open("r+b") as file:
            file.truncate(cut)
        self.reopen()

    @precondition(lambda self: self.journal.sealed)
    @rule(
        which=st.integers(0, 99), victim=st.integers(0, 99), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
    )
    def flip_a_bit(self, which: int, victim: int, at: float, bit: int) -> None:
        """Flip a bit: in a body it loses that body, in a head the bodies behind it, in the header all of them."""
        segment = self.journal.sealed[which % len(self.journal.sealed)]
        name = (segment.environment, segment.number)
        if name in self.vanished | self.headless | self.maimed:
            return
        frames = frames_of(Path(segment.path).read_bytes())
        hit = frames[victim % len(frames)]
        offset = hit.head + int(at * (hit.end - hit.head))
        flip(Path(segment.path), offset, bit)
        if hit is frames[0]:
            self.headless.add(name)
            return
        self.maimed.add(name)
        for gone in [hit] if offset >= hit.start else frames[frames.index(hit) :]:
            if (number := number_of(gone.body)) is not None:
                self.damaged[number] = name

    @precondition(lambda self: self.journal.sealed)
    @rule(which=st.integers(0, 99))
    def delete_a_sealed_file(self, which: int) -> None:
        """Delete a segment that waits for upload, as a function does that cleans up /tmp."""
        segment = self.journal.sealed[which % len(self.journal.sealed)]
        Path(segment.path).unlink(missing_ok=True)
        self.vanished.add((segment.environment, segment.number))

    @precondition(lambda self: not self.ended)
    @rule()
    def delete_the_open_file_and_seal(self) -> None:
        """Delete the open file; its descriptor is open, so it is not lost."""
        self.append(30)
        if self.journal.waiting_bytes:  # else it was refused: the spool is full
            Path(self.journal._file.path).unlink()
            self.seal()

    # --- the rules

    @invariant()
    def waiting_segments_are_in_order(self) -> None:
        """Assert that segments of one environment wait in the order of their numbers."""
        for environment in self.environments:
            numbers = [s.number for s in self.journal.sealed if s.environment == environment]
            assert numbers == sorted(set(numbers))

    def balance(self) -> None:
        """Assert that delivered, reported lost and excused records are the accepted ones, and never two of them."""
        delivered = [n for numbers in self.delivered.values() for n in numbers]
        assert len(set(delivered)) == len(delivered), "delivered twice"
        assert not set(self.reports) & set(self.delivered), "delivered, and reported as lost"
        assert not self.warnings, "the disk was never full"
        assert len(set(self.reported_lost)) == len(self.reported_lost), "a loss was reported twice"
        for loss in self.reported:
            if self.vanished.isdisjoint(names_in(loss)) and (self.headless | self.maimed).isdisjoint(names_in(loss)):
                were_in_it = [n for n, name in self.accepted.items() if name in names_in(loss) and n not in self.cut]
                assert loss.records == len(were_in_it), loss
        assert all(numbers == sorted(numbers) for numbers in self.delivered.values()), "out of order"
        for number in self.accepted.keys() - set(delivered) - self.cut:
            segment = self.accepted[number]
            damage = self.damaged.get(number)
            assert self.accounted(segment) or damage in self.reported_damaged, (
                f"{number} of {segment} is lost without a report"
            )
        for segment in self.reports:
            assert self.accounted(segment), f"the loss of {segment} was not reported"
        self.numbers_have_no_gap()

    @property
    def reported_lost(self) -> list[Name]:
        """Segments that were reported lost to a reader."""
        return [name for loss in self.reported for name in names_in(loss)]

    def reports_at_most(self) -> int:
        """Return the highest possible number of different losses and of ends of environments."""
        lost = self.reports.keys() - set(self.reported_lost)
        runs = sum((environment, number - 1) not in lost for environment, number in lost)
        return runs + 2 * len(self.vanished | self.headless) + len(self.environments)

    def accounted(self, segment: Name) -> bool:
        """Return whether this loss was reported to a reader, or its report was damaged or deleted."""
        if segment not in self.reports:
            return segment in self.vanished
        return segment in self.reported_lost or self.reports[segment] in self.vanished | self.headless | self.maimed

    def numbers_have_no_gap(self) -> None:
        """Assert that the segments of each environment count from 1, and only the highest is its last."""
        known = set(self.delivered) | set(self.reports) | self.vanished
        for environment in {name[0] for name in known}:
            numbers = sorted(number for name, number in known if name == environment)
            assert numbers == list(range(1, len(numbers) + 1)), environment
            ends = [number for name, number in self.finals if name == environment]
            highest = (environment, numbers[-1])
            assert ends in ([], [numbers[-1]]), environment
            assert ends or highest not in self.delivered or environment == self.environments[-1], environment


JournalModel.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.timeout(60)
class TestJournalModel(JournalModel.TestCase):  # type: ignore[misc,valid-type]  # made at run time
    """State machine as a test."""
