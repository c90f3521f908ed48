"""The pause: what loads in the main thread stands still while an invocation runs, never for long, and nobody else does.

Here the main thread loads, as in the shipper, and a second one says when invocations begin and end.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from logferry.ipc import NUDGE
from logferry.shipper.pause import PAUSE_SECONDS, WORD_SECONDS, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.timeout(30)

SECONDS = 10.0
"""The bound of every wait."""
SOON = 0.1
"""Something that must not happen is waited for this long; a turn of the busy module takes a microsecond."""
BUSY = f"""
import time
turns, enough, until = 0, False, time.monotonic() + {SECONDS}
while not enough:
    turns += 1
    assert time.monotonic() < until
"""
"""A module whose body computes without looking at anything else."""


class Busy:
    """The module while it is loaded by the main thread, and what the other thread does meanwhile."""

    def __init__(self, act: Callable[[Busy], None]) -> None:
        self._act = act
        self.failures: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            assert self.computes()
            self._act(self)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
            self.failures.append(error)
        finally:
            self.module.enough = True  # type: ignore[attr-defined]  # its body reads it

    @property
    def module(self) -> ModuleType:
        """The module, half loaded; waits until its body runs."""
        until = time.monotonic() + SECONDS
        while not hasattr(sys.modules.get("busy"), "enough"):
            assert time.monotonic() < until
            time.sleep(0.001)
        return sys.modules["busy"]

    def computes(self) -> bool:
        """Whether its body goes on, seen for a while."""
        time.sleep(SOON / 2)
        before: int = self.module.turns
        time.sleep(SOON)
        after: int = self.module.turns
        return before != after


class Load(Protocol):
    """How a test loads the module under a pause, while it does something else in another thread."""

    def __call__(self, pause: Pause, act: Callable[[Busy], None]) -> None:
        """Raise what either raises."""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Give the way to load it, for one test."""
    (tmp_path / "busy.py").write_text(BUSY)
    monkeypatch.syspath_prepend(tmp_path)

    def loading(pause: Pause, act: Callable[[Busy], None]) -> None:
        busy = Busy(act)
        busy.thread.start()
        try:
            with pause.kept():
                importlib.import_module("busy")
        finally:
            busy.thread.join(SECONDS)
        if busy.failures:
            raise busy.failures[0]

    yield loading
    sys.modules.pop("busy", None)


def test_a_module_is_stopped_in_the_middle_of_its_body_and_goes_on_when_the_invocation_ends(load: Load) -> None:
    """Not at the next import: what stands between there and here may be tens of milliseconds of the function's CPU."""
    pause = Pause()

    def act(busy: Busy) -> None:
        pause.begin()
        assert not busy.computes()
        pause.end()
        assert busy.computes()

    load(pause, act)


def test_an_invocation_that_began_before_loading_is_waited_for_too() -> None:
    """Its event may come as soon as there is somebody to hear it."""
    pause = Pause()
    pause.begin()
    ending = threading.Timer(SOON, pause.end)
    began = time.monotonic()
    ending.start()
    with pause.kept():
        assert time.monotonic() - began >= SOON
    ending.join()


def test_an_invocation_whose_end_is_never_told_is_not_waited_for_longer_than_the_bound() -> None:
    """Its records are to leave before its timeout; the bound counts from INVOKE."""
    now = [100.0]
    pause = Pause(clock=lambda: now[0])
    pause.begin()
    now[0] += PAUSE_SECONDS
    began = time.monotonic()
    with pause.kept():
        assert time.monotonic() - began < PAUSE_SECONDS / 2


def test_the_next_invocation_is_waited_for_again(load: Load) -> None:
    """The first one was given up at its deadline, or its end comes late: only the end of the latest counts."""
    now = [100.0]
    pause = Pause(clock=lambda: now[0])

    def act(busy: Busy) -> None:
        pause.begin()
        assert not busy.computes()
        now[0] += PAUSE_SECONDS
        pause.begin()
        assert not busy.computes()
        pause.end()
        assert busy.computes()

    load(pause, act)


@pytest.mark.parametrize("runs", [True, False])
def test_a_signal_stops_loading_before_its_event_is_heard(
    load: Load, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    """Who hears it waits for its turn, and for the interpreter's lock; what is no invocation lets loading go on."""
    monkeypatch.setattr("logferry.shipper.pause.WORD_SECONDS", SECONDS)
    pause = Pause()

    def act(busy: Busy) -> None:
        os.kill(os.getpid(), NUDGE)
        assert not busy.computes()
        if runs:
            pause.begin()
            assert not busy.computes()
        pause.end()
        assert busy.computes()
        os.kill(os.getpid(), NUDGE)  # the same, noticed late
        assert busy.computes()

    load(pause, act)


def test_an_event_that_is_never_heard_is_not_waited_for_long(load: Load) -> None:
    """A stranger may send the signal, and the thread that serves may be stuck."""

    def act(busy: Busy) -> None:
        os.kill(os.getpid(), NUDGE)
        assert not busy.computes()
        time.sleep(WORD_SECONDS)
        assert busy.computes()

    load(Pause(), act)


def test_what_is_told_twice_is_waited_for_once(load: Load) -> None:
    """A signal from outside interrupts the wait itself; the end of the invocation ends both."""
    pause = Pause()

    def act(busy: Busy) -> None:
        pause.begin()
        assert not busy.computes()
        os.kill(os.getpid(), NUDGE)
        assert not busy.computes()
        pause.end()
        assert busy.computes()

    load(pause, act)


@pytest.mark.parametrize("paused", [False, True])
def test_what_loading_is_given_up_for_is_raised_where_it_is(load: Load, paused: bool) -> None:
    """There is nobody left to load for: neither the module nor the invocation is waited for."""
    pause = Pause()

    def act(_busy: Busy) -> None:
        if paused:
            pause.begin()
        pause.give_up(RuntimeError("nobody answers deliveries"))

    with pytest.raises(RuntimeError, match="nobody answers deliveries"):
        load(pause, act)


def test_what_is_told_too_late_or_by_a_stranger_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """The signal's handler is as it was before, and nothing is killed, stopped or said."""
    before = signal.getsignal(NUDGE)
    pause = Pause()
    with pause.kept():
        os.kill(os.getpid(), NUDGE)
    assert signal.getsignal(NUDGE) is before
    began = time.monotonic()
    pause.begin()
    os.kill(os.getpid(), NUDGE)
    pause.give_up(RuntimeError("never seen"))
    assert time.monotonic() - began < PAUSE_SECONDS / 2
    assert capfd.readouterr() == ("", "")


def test_the_handler_goes_also_when_loading_fails() -> None:
    """Later imports are not looked at."""
    before = signal.getsignal(NUDGE)
    with pytest.raises(ImportError), Pause().kept():
        importlib.import_module("a_library_that_is_missing")
    assert signal.getsignal(NUDGE) is before
