"""While an invocation runs, the thread that loads the libraries waits: the function has its share of the CPU alone.

Why: a function has its share by a quota, 7 % of a core at 128 MB (AWS, "Configure Lambda function memory"). What loads
on the second core takes from that quota, whatever its priority: it made the first invocation of an environment take 1.9
times as long, and 2.4 times with a quota of a whole core. So loading stops at INVOKE and goes on when its runtime is
done; the caller has the answer by then.

A thread can only stop where it looks: before each import, by a finder that finds nothing, and where `wait` is called.

Promises:
- no wait lasts longer than `PAUSE_SECONDS` after the INVOKE, whatever is never said: an invocation that is long gets
  its shipper well before its end, and no other thread that needs a half-loaded module is kept from it for ever;
- only the thread that loads is ever stopped.
"""

from __future__ import annotations

import _imp
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAUSE_SECONDS = 2.0
"""From INVOKE: longer than most invocations, shorter than the shortest timeout that anybody gives a function."""


class Pause:
    """Begun and ended by one thread, kept by another."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is only for testing."""
        self._clock = clock
        self._over = threading.Event()
        self._over.set()
        self._until = 0.0
        self._loading: int | None = None

    def begin(self) -> None:
        """An invocation runs."""
        self._until = self._clock() + PAUSE_SECONDS
        self._over.clear()

    def end(self) -> None:
        """It does not, or loading is more urgent now."""
        self._over.set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the calling thread waits before each import."""
        self._loading = threading.get_ident()
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)

    def wait(self) -> None:
        """Return when no invocation runs, or has run for long."""
        self._over.wait(max(0.0, self._until - self._clock()))

    def find_spec(self, _name: str, _path: object = None, _target: object = None) -> None:
        """As a finder (`importlib.abc.MetaPathFinder`): nothing is found here, the next one is asked."""
        if threading.get_ident() == self._loading and not self._over.is_set():
            # A finder is asked with the interpreter's one import lock held, and others may have to import something.
            _imp.release_lock()
            try:
                self.wait()
            finally:
                _imp.acquire_lock()
