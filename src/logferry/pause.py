"""While an invocation runs, the thread that loads the libraries waits: the function has its share of the CPU alone.

Why: a function has its share by a quota, 7 % of a core at 128 MB (AWS, "Configure Lambda function memory"). What loads
on the second core takes from that quota, whatever its priority: it made the first invocation of an environment take 1.9
times as long, and 2.4 times with a quota of a whole core. So loading stops at INVOKE and goes on when its runtime is
done; the caller has the answer by then. There a millisecond of ours is 14 of its caller's, so it stops in the middle of
whatever it does, not at the next import.

How: Python runs the handlers of signals in the main thread, between two instructions of whatever runs there, and
`interrupt_main` has one run without a signal being sent (`_thread`, Python's library reference). So nothing is cut
short by EINTR, nothing can kill the process, and what comes too late finds no handler and does nothing. The signal that
lends its handler is the one that Go took for the same purpose: no library uses SIGURG, and by default it is ignored.

Promises:
- no wait lasts longer than `PAUSE_SECONDS` after the INVOKE, whatever is never said: an invocation that is long gets
  its shipper well before its end;
- only the main thread is ever stopped, and only inside `kept`.

Who is stopped may hold the lock of a module, or that of all imports: another thread ends the pause before it imports.
"""

from __future__ import annotations

import _thread
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAUSE_SECONDS = 2.0
"""From INVOKE: longer than most invocations, shorter than the shortest timeout that anybody gives a function."""


class _Running(NamedTuple):
    """An invocation; its gate is locked until it ends or the next one begins, and never again."""

    gate: _thread.LockType
    until: float


class Pause:
    """Begun and ended by one thread, kept by the main one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is only for testing."""
        self._clock = clock
        self._running: _Running | None = None
        self._failure: BaseException | None = None

    def begin(self) -> None:
        """An invocation runs."""
        self.end()
        gate = _thread.allocate_lock()
        gate.acquire()
        self._running = _Running(gate, self._clock() + PAUSE_SECONDS)
        _thread.interrupt_main(signal.SIGURG)

    def end(self) -> None:
        """It does not, or loading is more urgent now."""
        ended, self._running = self._running, None
        if ended:
            ended.gate.release()

    def give_up(self, failure: BaseException) -> None:
        """Loading is for nothing: raise `failure` where it is."""
        self._failure = failure
        self.end()
        _thread.interrupt_main(signal.SIGURG)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the calling thread stops wherever it is; it must be the main one."""
        before = signal.signal(signal.SIGURG, lambda _number, _frame: self._stop())
        try:
            self._stop()
            yield
        finally:
            signal.signal(signal.SIGURG, before)

    def _stop(self) -> None:
        """Wait while an invocation runs. Raises what was given up for.

        It may be called again inside itself, hence bare locks: an Event holds one of its own when it is interrupted,
        and both threads would wait for that.
        """
        while running := self._running:
            if not running.gate.acquire(timeout=max(0.0, running.until - self._clock())):
                break
            running.gate.release()  # for who was interrupted at the same gate
        if self._failure:
            raise self._failure
