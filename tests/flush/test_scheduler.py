"""The scheduler: state since the last seal, from which the policy decides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from logferry.flush.policy import Due, Flush, Policy, Thresholds, Timing
from logferry.flush.scheduler import InvokeDecision, Scheduler
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.records.invocations import Invocations
from support.journal_harness import numbered, open_journal

if TYPE_CHECKING:
    from pathlib import Path

POST_EXECUTION, NEXT_INVOCATION = Timing.POST_EXECUTION, Timing.NEXT_INVOCATION
EACH = Policy(Flush.INVOCATION, POST_EXECUTION, Thresholds())
AGE_OF_10 = Policy(Flush.TIME, POST_EXECUTION, Thresholds(seconds=10.0))
SIZE_OF_1000 = Policy(Flush.SIZE, POST_EXECUTION, Thresholds(size=1000))


class Environment:
    """An execution environment with a clock that the test sets."""

    def __init__(self, directory: Path, policy: Policy, *, managed: bool = False) -> None:
        self.now = 100.0
        self.renewals = 0
        self.journal = open_journal(directory)
        invocations = Invocations()
        self.scheduler = Scheduler(
            journal=self.journal,
            policy=policy,
            invocations=invocations,
            managed=managed,
            renew=self._renew,
            clock=lambda: self.now,
        )
        self.intake = Intake(
            journal=self.journal, deduplicator=Deduplicator(), invocations=invocations, managed=managed
        )
        self.intake.add_callback(self.scheduler.on_batch)

    def _renew(self) -> None:
        self.renewals += 1

    def platform(self, kind: str, request_id: str) -> None:
        """Deliver a platform record of a request."""
        record = {"time": f"{self.now}", "type": f"platform.{kind}", "record": {"requestId": request_id}}
        self.intake.accept(json.dumps([record]).encode())

    def due(self) -> Timing | None:
        """Return the timing of the flush that is due now."""
        due = self.scheduler.due_now()
        return due.timing if due else None

    def due_on_invoke(self, request_id: str) -> Timing | None:
        """Return the timing of the flush that an INVOKE makes due."""
        due = self.scheduler.on_invoke(request_id).due
        return due.timing if due else None


def test_scheduler_measures_age_from_the_first_batch_of_the_segment(tmp_path: Path) -> None:
    """Later batches must not make the segment younger, and a seal starts a new age."""
    it = Environment(tmp_path, AGE_OF_10)
    it.intake.accept(numbered(1))
    it.now += 6
    it.intake.accept(numbered(2))
    assert it.scheduler.seconds_until_old() == 4.0
    assert it.due() is None
    it.now += 4
    assert it.due() is NEXT_INVOCATION
    assert it.scheduler.seal(running=0)
    assert it.scheduler.seconds_until_old() is None
    it.intake.accept(numbered(3))
    assert it.scheduler.seconds_until_old() == 10.0


def test_scheduler_starts_with_the_age_of_recovered_records(tmp_path: Path) -> None:
    """The open segment of an earlier shipper counts from the start of this one, not from the next batch."""
    earlier = open_journal(tmp_path)
    earlier.append(numbered(1))
    it = Environment(tmp_path / "other", AGE_OF_10)
    it.journal.append(numbered(1))
    recovered = Scheduler(
        journal=it.journal, policy=AGE_OF_10, invocations=Invocations(), managed=False, clock=lambda: it.now
    )
    it.now += 10
    assert recovered.due_now()


def test_scheduler_makes_size_due_inside_an_invocation(tmp_path: Path) -> None:
    """A long invocation must not fill the spool before its end."""
    it = Environment(tmp_path, SIZE_OF_1000)
    it.scheduler.on_invoke("r1")
    it.intake.accept(numbered(1, size=500))
    assert it.due() is None
    it.intake.accept(numbered(2, size=500))
    assert it.due() is NEXT_INVOCATION


def test_scheduler_counts_invocations_since_the_last_seal(tmp_path: Path) -> None:
    """With N=3 every third invocation flushes; a running invocation belongs to the next segment too."""
    it = Environment(tmp_path, Policy(Flush.INVOCATION, POST_EXECUTION, Thresholds(invocations=3)))
    assert [it.due_on_invoke(f"r{n}") for n in range(3)] == [None, None, POST_EXECUTION]
    it.intake.accept(numbered(1))
    it.scheduler.seal(running=0)
    assert [it.due_on_invoke(f"s{n}") for n in range(2)] == [None, None]
    it.intake.accept(numbered(2))
    it.scheduler.seal(running=1)
    assert [it.due_on_invoke(f"t{n}") for n in range(2)] == [None, POST_EXECUTION]


def test_scheduler_returns_the_previous_request(tmp_path: Path) -> None:
    """The lifecycle waits for the end of the previous invocation before it seals."""
    it = Environment(tmp_path, AGE_OF_10)
    assert it.scheduler.on_invoke("r1") == InvokeDecision(None, None)
    assert it.scheduler.on_invoke("r2") == InvokeDecision(None, "r1")


def test_scheduler_keeps_a_flush_due_that_could_not_be_made(tmp_path: Path) -> None:
    """Without a seal, as after a failure of the sink, the next INVOKE makes the flush due again."""
    it = Environment(tmp_path, EACH)
    assert it.scheduler.on_invoke("r1").due == Due(POST_EXECUTION, "1 invocations")
    it.intake.accept(numbered(1))
    assert it.scheduler.on_invoke("r2").due == Due(POST_EXECUTION, "2 invocations")


def test_scheduler_leaves_records_that_were_old_at_invoke_to_the_announced_flush(tmp_path: Path) -> None:
    """An upload during the invocation would need a second object for the records of the invocation."""
    it = Environment(tmp_path, AGE_OF_10)
    it.intake.accept(numbered(1))
    it.now += 11
    assert it.due_on_invoke("r1") is POST_EXECUTION
    it.intake.accept(numbered(2))
    assert it.due() is None
    assert it.scheduler.seconds_until_old() == 10.0
    it.now += 10
    assert it.due() is NEXT_INVOCATION


def test_scheduler_leaves_records_that_were_large_at_invoke_to_the_announced_flush(tmp_path: Path) -> None:
    """Only the records of the invocation itself count until its end."""
    it = Environment(tmp_path, SIZE_OF_1000)
    it.intake.accept(numbered(1, size=1000))
    assert it.due_on_invoke("r1") is POST_EXECUTION
    it.intake.accept(numbered(2, size=500))
    assert it.due() is None
    it.intake.accept(numbered(3, size=500))
    assert it.due() is NEXT_INVOCATION


def test_scheduler_gives_late_records_the_age_of_their_invocation(tmp_path: Path) -> None:
    """Records that the platform delivers after a thaw were written before the freeze."""
    it = Environment(tmp_path, Policy(Flush.TIME, NEXT_INVOCATION, Thresholds(seconds=10.0)))
    it.scheduler.on_invoke("r1")
    it.platform("start", "r1")
    it.scheduler.seal(running=1)
    it.now += 3600  # frozen before platform.runtimeDone was delivered
    assert it.due_on_invoke("r2") is NEXT_INVOCATION


def test_scheduler_expects_no_late_records_of_an_invocation_that_has_ended(tmp_path: Path) -> None:
    """Without records no flush is due, however long the environment was frozen."""
    it = Environment(tmp_path, Policy(Flush.TIME, NEXT_INVOCATION, Thresholds(seconds=10.0)))
    it.scheduler.on_invoke("r1")
    it.platform("start", "r1")
    it.platform("runtimeDone", "r1")
    it.scheduler.seal(running=0)
    it.now += 3600
    assert it.due_on_invoke("r2") is None


def test_scheduler_waits_for_the_rest_of_a_cut_record(tmp_path: Path) -> None:
    """A seal in the middle of a record that two batches share would split it."""
    it = Environment(tmp_path, SIZE_OF_1000)
    envelope = b'[{"time":"2026-11-30T00:00:00.000Z","type":"function","record":"'
    it.intake.accept(envelope + b"x" * 300_000 + b"}]")
    assert it.due() is None
    it.intake.accept(envelope + b'rest"}]')
    assert it.due() is NEXT_INVOCATION


def test_scheduler_counts_reports_on_managed_instances(tmp_path: Path) -> None:
    """No INVOKE announces an invocation there, so the end of an invocation counts."""
    policy = Policy(Flush.INVOCATION, POST_EXECUTION, Thresholds(invocations=2))
    it = Environment(tmp_path, policy, managed=True)
    it.platform("report", "r1")
    assert it.due() is None
    it.platform("report", "r2")
    assert it.due() is NEXT_INVOCATION
    it.scheduler.seal(running=0)
    it.platform("report", "r3")
    assert it.due() is None


def test_scheduler_renews_names_before_the_first_invocation_only(tmp_path: Path) -> None:
    """Names from before a SnapStart snapshot are the same in every clone."""
    it = Environment(tmp_path, EACH)
    assert it.renewals == 0
    it.scheduler.on_invoke("r1")
    it.scheduler.on_invoke("r2")
    assert it.renewals == 1


def test_scheduler_seals_the_last_segment_as_final(tmp_path: Path) -> None:
    """Readers detect the end of an environment by the final segment."""
    it = Environment(tmp_path, EACH)
    assert not it.scheduler.has_records
    it.intake.accept(numbered(1))
    assert it.scheduler.has_records
    sealed = it.scheduler.seal_last()
    assert sealed is not None
    assert sealed.final
    assert not it.scheduler.has_records


@pytest.mark.parametrize("gap", [1.0, 300.0])
def test_scheduler_measures_the_gaps_between_invocations(tmp_path: Path, gap: float) -> None:
    """Adaptive batches close invocations, and flushes each one if they are far apart."""
    it = Environment(tmp_path, Policy(Flush.ADAPTIVE, POST_EXECUTION, Thresholds()))
    found = []
    for n in range(4):
        found.append(it.due_on_invoke(f"r{n}"))
        it.platform("start", f"r{n}")
        it.platform("runtimeDone", f"r{n}")
        if found[-1]:
            it.scheduler.seal(running=0)
        it.now += gap
    assert found == [POST_EXECUTION, *([None] if gap == 1.0 else [POST_EXECUTION]) * 3]
