"""While an invocation runs, the thread that loads the libraries waits: the function has its share of the CPU alone.

Why: a function has its share by a quota, 7 % of a core at 128 MB (AWS, "Configure Lambda function memory"). What loads
on the second core takes from that quota, whatever its priority: it made the first invocation of an environment take 1.9
times as long, and 2.4 times with a quota of a whole core. So loading stops at INVOKE and goes on when its runtime is
done; the caller has the answer by then. There a millisecond of ours is 14 of its caller's, so it stops in the middle of
whatever it does, not at the next import.

How: Python runs the handlers of signals in the main thread, between two instructions of whatever runs there. Ahead of
each event the supervisor sends a signal, and loading stands still until the thread that serves has heard the event.
Without it that thread would need its turn and the interpreter's lock first, and under a quota the loading one uses up
the shares of several periods until then. Where the signal came too early for a handler, `interrupt_main` has one run
without a signal (`_thread`, Python's library reference). What comes too late finds no handler, and is ignored.

Promises:
- no wait lasts longer than `PAUSE_SECONDS` after the INVOKE, whatever is never said: an invocation that is long gets
  its shipper well before its end;
- only the main thread is ever stopped, and only inside `kept`.

Who is stopped may hold the lock of a module, or that of all imports: another thread ends the pause before it imports.
"""

from __future__ import annotations

import _thread
import math
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAUSE_SECONDS = 2.0
"""From INVOKE: longer than most invocations, shorter than the shortest timeout that anybody gives a function."""
WORD_SECONDS = 0.3
"""From the signal to the word of the thread that serves: measured on 7 % of a core it takes up to that. A signal that
is noticed so soon after a word was the word's own."""


class Pause:
    """Begun and ended by one thread, kept by the main one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is only for testing."""
        self._clock = clock
        self._until = 0.0
        self._word_until = 0.0
        self._told_at = -math.inf
        self._gates: list[_thread.LockType] = []
        self._failure: BaseException | None = None

    def begin(self) -> None:
        """An invocation runs."""
        self._tell(self._clock() + PAUSE_SECONDS)
        _thread.interrupt_main(signal.SIGURG)

    def end(self) -> None:
        """It does not, or loading is more urgent now."""
        self._tell(0.0)

    def give_up(self, failure: BaseException) -> None:
        """Loading is for nothing: raise `failure` where it is."""
        self._failure = failure
        self.end()
        _thread.interrupt_main(signal.SIGURG)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the calling thread stops wherever it is; it must be the main one."""
        before = signal.signal(signal.SIGURG, lambda _number, _frame: self._nudged())
        signal.siginterrupt(signal.SIGURG, False)  # no library's call is cut short
        try:
            self._stop()
            yield
        finally:
            signal.signal(signal.SIGURG, before)

    def _tell(self, until: float) -> None:
        self._until, self._word_until, self._told_at = until, 0.0, self._clock()
        while self._gates:
            self._gates.pop().release()

    def _nudged(self) -> None:
        now = self._clock()
        if now - self._told_at > WORD_SECONDS:
            self._word_until = now + WORD_SECONDS
        self._stop()

    def _stop(self) -> None:
        """Wait while there is reason to. Raises what was given up for.

        It may be called again inside itself, so each call has gates of its own: an Event may hold its lock when it is
        interrupted, and both threads would wait for that. A gate is there before the look: no change is missed.
        """
        while True:
            gate = _thread.allocate_lock()
            gate.acquire()
            self._gates.append(gate)
            until = max(self._until, self._word_until)
            if not gate.acquire(timeout=max(0.0, until - self._clock())):
                break
        if self._failure:
            raise self._failure
