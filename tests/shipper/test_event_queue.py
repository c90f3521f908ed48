"""Events that come while the libraries are loading: kept for later, and loading pauses while the function runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from logferry.shipper.early_events import EventQueue
from logferry.shipper.pause import Pause

from logferry import ipc
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.flush.scheduler import Scheduler
from logferry.listener.dedup import Deduplicator
from logferry.listener.intake import Intake
from logferry.records.invocations import Invocations
from logferry.shipper.events import Shutdown
from support.journal_harness import open_journal
from support.platform_events import batch, function, report_of, runtime_done, start

if TYPE_CHECKING:
    from pathlib import Path


class Watched(Pause):
    """A pause that says whether it is on."""

    on = False

    def begin(self) -> None:
        """Note it."""
        self.on = True

    def end(self) -> None:
        """Note it."""
        self.on = False


class Scene:
    """A shipper whose libraries are loading, and what the supervisor and the platform say to it."""

    def __init__(self, directory: Path, flush: Flush = Flush.TIME) -> None:
        self.invocations = Invocations()
        journal = open_journal(directory)
        self.scheduler = Scheduler(
            journal=journal,
            policy=Policy(flush, Timing.POST_EXECUTION, Thresholds()),
            invocations=self.invocations,
            managed=False,
        )
        self.intake = Intake(journal=journal, deduplicator=Deduplicator(), invocations=self.invocations, managed=False)
        self.pause = Watched()
        self.early = EventQueue(scheduler=self.scheduler, invocations=self.invocations, pause=self.pause)
        self.intake.add_callback(self.scheduler.on_batch)
        self.intake.add_callback(self.early.on_batch)

    def invoke(self, request: str, *, again: bool = False) -> None:
        """INVOKE is handed on."""
        self._event({"eventType": "INVOKE", "requestId": request}, again=again)

    def shut_down(self) -> None:
        """SHUTDOWN is handed on."""
        self._event({"eventType": "SHUTDOWN", "shutdownReason": "timeout"})

    def _event(self, event: dict[str, Any], *, again: bool = False) -> None:
        self.early.hear((ipc.EVENT_RETRY if again else ipc.EVENT) + b"1\n" + json.dumps(event).encode())

    def deliver(self, *events: dict[str, Any]) -> None:
        """Telemetry comes."""
        self.intake.accept(batch(*events))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Give a shipper that is loading."""
    return Scene(tmp_path)


@pytest.mark.parametrize("flush", [Flush.TIME, Flush.INVOCATION])
def test_an_invocation_is_kept_whether_anything_is_due_with_it_or_not(tmp_path: Path, flush: Flush) -> None:
    """What is held keeps the environment running until everything is loaded."""
    scene = Scene(tmp_path, flush)
    scene.invoke("one")
    [(event, begun)] = [waiting for waiting in scene.early.waiting if not isinstance(waiting, Shutdown)]
    assert event.request_id == "one"
    assert bool(begun.due) == (flush is Flush.INVOCATION)


def test_loading_pauses_from_invoke_to_the_end_of_that_invocation(scene: Scene) -> None:
    """Neither its lines nor the end of another one end the pause; its `platform.runtimeDone` does."""
    assert not scene.pause.on
    scene.invoke("one")
    scene.deliver(report_of("zero"), start("one"), function("a line"), runtime_done("zero"))
    assert scene.pause.on
    scene.deliver(runtime_done("one"))
    assert not scene.pause.on


def test_the_next_invocation_pauses_it_again(scene: Scene) -> None:
    """The first one was given up before everything was loaded, and its end comes late."""
    scene.invoke("one")
    scene.invoke("two")
    scene.deliver(start("one"), runtime_done("one"))
    assert scene.pause.on
    scene.deliver(start("two"), runtime_done("two"))
    assert not scene.pause.on


def test_an_invocation_that_is_over_when_its_event_is_read_does_not_pause_it(scene: Scene) -> None:
    """Telemetry and events come by different ways. Where a signal went ahead of the event, it ends that pause."""
    scene.deliver(start("one"), runtime_done("one"))
    scene.pause.on = True
    scene.invoke("one")
    assert not scene.pause.on


def test_an_invocation_that_is_handed_on_again_pauses_it_only_where_it_is_known_to_run(scene: Scene) -> None:
    """The shipper before this one may have shipped its end."""
    scene.invoke("one", again=True)
    assert not scene.pause.on
    scene.deliver(start("two"))
    scene.invoke("two", again=True)
    assert scene.pause.on


def test_shutdown_and_the_end_of_the_supervisor_let_loading_go_on(scene: Scene) -> None:
    """There are two seconds to ship everything, and nobody to work for after the end."""
    scene.invoke("one")
    scene.shut_down()
    assert not scene.pause.on
    assert isinstance(scene.early.waiting[-1], Shutdown)
    scene.invoke("two")
    scene.early.hear(b"")
    assert not scene.pause.on
    assert scene.early.supervisor_gone


def test_what_is_no_event_is_not_kept(scene: Scene) -> None:
    """A packet of a newer supervisor is none of ours."""
    scene.early.hear(b"Z")
    assert scene.early.waiting == []
    assert not scene.pause.on
