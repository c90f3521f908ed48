"""The pause: the thread that loads waits while an invocation runs, never for long, and nobody else does."""

from __future__ import annotations

import importlib
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from logferry.pause import PAUSE_SECONDS, Pause

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(30)

SECONDS = 10.0
"""The bound of every wait."""
SOON = 0.1
"""Something that must not happen is waited for this long; an import of these modules takes a millisecond."""
MODULES = ("colorsys", "sched")
"""Of the standard library, imported by nobody else."""


class Loading:
    """A thread that imports modules inside the pause."""

    def __init__(self, pause: Pause) -> None:
        for name in MODULES:
            sys.modules.pop(name, None)
        self.ended = threading.Event()
        self._pause = pause
        self._thread = threading.Thread(target=self._load)
        self._thread.start()

    def _load(self) -> None:
        with self._pause.kept():
            importlib.import_module(MODULES[0])
        self.ended.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@contextmanager
def loading(pause: Pause) -> Iterator[Loading]:
    """Load in a thread; the pause ends with the block."""
    it = Loading(pause)
    try:
        yield it
    finally:
        pause.end()
        it.join()


def test_loading_goes_on_while_no_invocation_runs() -> None:
    """During init, and between invocations."""
    with loading(Pause()) as it:
        assert it.ended.wait(SECONDS)


def test_loading_waits_from_the_beginning_of_an_invocation_to_its_end() -> None:
    """Not one more module is imported while the function runs."""
    pause = Pause()
    pause.begin()
    with loading(pause) as it:
        assert not it.ended.wait(SOON)
        assert MODULES[0] not in sys.modules
        pause.end()
        assert it.ended.wait(SECONDS)
        assert MODULES[0] in sys.modules


def test_an_invocation_whose_end_is_never_told_is_not_waited_for_longer_than_the_bound() -> None:
    """Its records are to leave before its timeout; the bound counts from INVOKE, not from each import."""
    now = [100.0]
    pause = Pause(clock=lambda: now[0])
    pause.begin()
    now[0] += PAUSE_SECONDS
    with loading(pause) as it:
        assert it.ended.wait(SECONDS)


def test_the_next_invocation_is_waited_for_again() -> None:
    """The first one was given up at its deadline, and its successor came before everything was loaded."""
    now = [100.0]
    pause = Pause(clock=lambda: now[0])
    pause.begin()
    now[0] += PAUSE_SECONDS
    pause.begin()
    with loading(pause) as it:
        assert not it.ended.wait(SOON)


def test_only_the_loading_thread_waits() -> None:
    """Deliveries are answered by another, which may import what it needs in trouble."""
    pause = Pause()
    pause.begin()
    with loading(pause) as it:
        importlib.import_module(MODULES[1])
        assert not it.ended.is_set()


def test_nothing_is_left_behind_when_all_is_loaded() -> None:
    """Later imports are not looked at, also when loading has failed."""
    pause = Pause()
    before = list(sys.meta_path)
    with pytest.raises(ImportError), pause.kept():
        importlib.import_module("a_library_that_is_missing")
    assert sys.meta_path == before
