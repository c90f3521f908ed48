"""Tests of the events that arrive during startup: what is kept, and when loading is suspended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from logferry import ipc
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.flush.scheduler import Scheduler
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.records.invocations import Invocations
from logferry.shipper.event_queue import SUSPEND_SECONDS, EventQueue
from logferry.shipper.events import Shutdown
from support.journal_harness import open_journal
from support.platform_events import batch, report_of, runtime_done, start

if TYPE_CHECKING:
    from pathlib import Path


class Startup:
    """A shipper during startup; the test acts as the supervisor and as the platform."""

    def __init__(self, directory: Path, flush: Flush = Flush.TIME) -> None:
        self.now = 100.0
        self.invocations = Invocations()
        journal = open_journal(directory)
        scheduler = Scheduler(
            journal=journal,
            policy=Policy(flush, Timing.POST_EXECUTION, Thresholds()),
            invocations=self.invocations,
            managed=False,
        )
        self.intake = Intake(journal=journal, deduplicator=Deduplicator(), invocations=self.invocations, managed=False)
        self.queue = EventQueue(scheduler=scheduler, invocations=self.invocations, clock=lambda: self.now)

    def invoke(self, request: str, *, again: bool = False) -> None:
        """Send an INVOKE event."""
        self._event({"eventType": "INVOKE", "requestId": request}, again=again)

    def shut_down(self) -> None:
        """Send a SHUTDOWN event."""
        self._event({"eventType": "SHUTDOWN", "shutdownReason": "timeout"})

    def _event(self, event: dict[str, Any], *, again: bool = False) -> None:
        kind = ipc.EVENT_RETRY if again else ipc.EVENT
        self.queue.handle_packet(kind + b"1\n" + json.dumps(event).encode())

    def deliver(self, *events: dict[str, Any]) -> None:
        """Deliver a batch."""
        self.intake.accept(batch(*events))


@pytest.fixture
def startup(tmp_path: Path) -> Startup:
    """Return a shipper during startup."""
    return Startup(tmp_path)


@pytest.mark.parametrize("flush", [Flush.TIME, Flush.INVOCATION])
def test_queue_keeps_an_invocation_with_and_without_a_due_flush(tmp_path: Path, flush: Flush) -> None:
    """A held event keeps the execution environment running until everything is loaded."""
    startup = Startup(tmp_path, flush)
    startup.invoke("one")
    startup.invoke("two")
    found = [each[0].request_id for each in startup.queue.waiting if not isinstance(each, Shutdown)]
    assert found == ["one", "two"]
    assert startup.queue.held


def test_loading_is_suspended_from_invoke_to_the_end_of_the_runtime(startup: Startup) -> None:
    """The first invocation has the CPU for itself."""
    assert startup.queue.suspended_seconds() == 0.0
    startup.invoke("one")
    assert startup.queue.suspended_seconds() == SUSPEND_SECONDS
    startup.deliver(start("one"))
    assert startup.queue.suspended_seconds() == SUSPEND_SECONDS
    startup.deliver(runtime_done("one"))
    assert startup.queue.suspended_seconds() == 0.0


def test_loading_is_suspended_no_longer_than_its_limit(startup: Startup) -> None:
    """A function that runs for minutes needs its shipper."""
    startup.invoke("one")
    startup.now += SUSPEND_SECONDS - 0.5
    assert startup.queue.suspended_seconds() == pytest.approx(0.5)
    startup.now += 1.0
    assert startup.queue.suspended_seconds() == 0.0


def test_loading_goes_on_after_the_end_of_another_invocation_only_if_it_is_the_latest(startup: Startup) -> None:
    """The end of an earlier request does not end the suspension."""
    startup.invoke("one")
    startup.invoke("two")
    startup.deliver(runtime_done("one"))
    assert startup.queue.suspended_seconds() == SUSPEND_SECONDS


def test_loading_is_not_suspended_for_an_invocation_that_has_ended(startup: Startup) -> None:
    """The report may arrive before the event."""
    startup.deliver(start("one"), runtime_done("one"), report_of("one"))
    startup.invoke("one")
    assert startup.queue.suspended_seconds() == 0.0


@pytest.mark.parametrize("running", [True, False])
def test_loading_is_suspended_for_a_repeated_event_only_if_its_invocation_runs(
    startup: Startup, *, running: bool
) -> None:
    """The invocation may have ended while an earlier shipper lived."""
    if running:
        startup.deliver(start("one"))
    startup.invoke("one", again=True)
    assert (startup.queue.suspended_seconds() > 0) is running


def test_shutdown_resumes_loading(startup: Startup) -> None:
    """The environment ends in two seconds."""
    startup.invoke("one")
    startup.shut_down()
    assert startup.queue.suspended_seconds() == 0.0
    assert isinstance(startup.queue.waiting[-1], Shutdown)


def test_the_end_of_the_supervisor_resumes_loading(startup: Startup) -> None:
    """The process then ends."""
    startup.invoke("one")
    startup.queue.handle_packet(b"")
    assert startup.queue.supervisor_ended
    assert startup.queue.suspended_seconds() == 0.0
