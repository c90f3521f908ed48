"""Tests of the stepped import: serving between steps, suspension, and yielding on a busy core."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, cast

import pytest

from logferry.shipper.startup import MAX_YIELD_SECONDS, STEP_SECONDS, YIELD_SECONDS, SteppedImport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logferry.shipper.bootstrap_server import BootstrapServer
    from logferry.shipper.event_queue import EventQueue


class Queue:
    """A queue whose state a test sets."""

    held = False
    suspended = 0.0

    def suspended_seconds(self) -> float:
        """Return what the test has set."""
        return self.suspended


class Clock:
    """Wall and CPU time that a test moves."""

    def __init__(self) -> None:
        self.wall = self.cpu = self.ticks = 0.0
        """`ticks`: seconds of wall and CPU time that pass with each look at the wall clock."""

    def read(self) -> float:
        """Return the wall clock, after its tick."""
        self.step(self.ticks, self.ticks)
        return self.wall

    def step(self, wall: float, cpu: float) -> None:
        """Let time pass."""
        self.wall += wall
        self.cpu += cpu


class Server:
    """A server that records how long it has served; each wait takes as long as it may."""

    def __init__(self, clock: Clock, queue: Queue) -> None:
        self.served: list[float] = []
        self._clock = clock
        self._queue = queue
        self.on_serve: Callable[[], None] = lambda: None

    def serve(self, remaining: Callable[[], float]) -> None:
        """Wait for the remaining time until none is left."""
        total = 0.0
        while seconds := remaining():
            total += seconds
            self._clock.step(seconds, 0.0)
            self._queue.suspended = max(0.0, self._queue.suspended - seconds)
        self.served.append(round(total, 6))
        self.on_serve()


class Scene:
    """A stepped import with a queue, a server and clocks of the test."""

    def __init__(self) -> None:
        self.clock, self.queue = Clock(), Queue()
        self.server = Server(self.clock, self.queue)
        self.stepped = SteppedImport(
            server=cast("BootstrapServer", self.server),
            queue=cast("EventQueue", self.queue),
            wall_clock=self.clock.read,
            cpu_clock=lambda: self.clock.cpu,
        )

    def step(self, wall: float, cpu: float) -> float:
        """Import a module that takes this long; return for how long loading then stood still."""
        self.clock.step(wall, cpu)
        self.stepped.serve()
        return self.server.served[-1]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Return a stepped import that is active."""
    it = Scene()
    with it.stepped:
        yield it


@pytest.mark.parametrize(("seconds", "steps"), [(STEP_SECONDS, 3), (STEP_SECONDS / 10, 0)])
def test_stepped_import_serves_before_each_module_that_takes_time(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    """A module that imports two others makes three steps, if they are not too small."""
    for name, text in (("one", "import stepped_two, stepped_three"), ("two", ""), ("three", "")):
        (tmp_path / f"stepped_{name}.py").write_text(text)
        sys.modules.pop(f"stepped_{name}", None)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    before = len(scene.server.served)
    scene.clock.ticks = seconds
    importlib.import_module("stepped_one")
    assert len(scene.server.served) == before + steps


def test_stepped_import_ends_with_its_context() -> None:
    """No finder remains in the interpreter."""
    it = Scene()
    with it.stepped:
        assert it.stepped in sys.meta_path
    assert it.stepped not in sys.meta_path


def test_stepped_import_stands_still_while_an_invocation_runs(scene: Scene) -> None:
    """The queue decides for how long."""
    scene.queue.suspended = 1.5
    assert scene.step(0.001, 0.001) == 1.5
    assert scene.step(0.001, 0.001) == 0.0


@pytest.mark.parametrize(("wall", "cpu", "expected"), [(0.004, 0.004, 0.0), (0.008, 0.004, YIELD_SECONDS)])
def test_stepped_import_yields_a_busy_core(scene: Scene, wall: float, cpu: float, expected: float) -> None:
    """A step that took much longer than its CPU time had to wait for its turn."""
    assert scene.step(wall, cpu) == expected


def test_stepped_import_yields_no_longer_than_its_limit(scene: Scene) -> None:
    """A throttled CPU quota looks like a busy core, and the shipper must become ready."""
    yielded = [scene.step(0.02, 0.001) for _ in range(int(2 * MAX_YIELD_SECONDS / YIELD_SECONDS))]
    assert sum(yielded) == pytest.approx(MAX_YIELD_SECONDS)


def test_stepped_import_does_not_yield_while_an_event_waits(scene: Scene) -> None:
    """The invocation is extended until everything is loaded."""
    scene.queue.held = True
    assert scene.step(0.02, 0.001) == 0.0


def test_stepped_import_does_not_enter_itself(scene: Scene) -> None:
    """An import by served code is not a step."""
    scene.server.on_serve = scene.stepped.serve
    scene.step(0.001, 0.001)
    assert len(scene.server.served) == 1
