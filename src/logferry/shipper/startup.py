"""The shipper's two threads: the main one loads the libraries, at low priority; the other serves, for life.

Why this way round: only the main thread can be stopped in the middle of what it does (see `pause`), and a thread that
has lowered its priority may not raise it again (setpriority(2)), so who loads cannot serve afterwards. When all is
loaded the main thread waits for the other's end, and costs nothing.

Promises:
- serving gives way to nobody: it never waits for loading but for the interpreter's lock, and for that not long;
- whatever either thread raises ends both, and is raised to the caller.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logferry.shipper.pause import Pause

Loaded = TypeVar("Loaded")

NICE = 15
"""Of the loading thread. Measured with all of us on one core: beside a runtime's init of 300 ms nice 10 adds 24 %, 12
adds 20, 15 and 19 add 16. While the function keeps that core busy the slowest answer takes 110, 110, 160 and 335 ms,
for the other thread waits for the interpreter's lock, which the slow one holds while it has no turn; with a second core
free it is some 30 ms."""
SWITCH_SECONDS = 0.0002
"""For how long the thread that serves asks for the interpreter's lock before the other has to give it up."""


def warm_up(
    load: Callable[[], Loaded], *, pause: Pause, serve: Callable[[int], None], then: Callable[[Loaded], None]
) -> None:
    """Run `load` here, the main thread, and beside it `serve`, until the descriptor it is given is readable.

    Then, in the thread of `serve`, `then` is given what was loaded. Returns when that has ended; raises what any of the
    three raises.
    """
    done_out, done_in = os.pipe()
    loaded: list[Loaded] = []
    failures: list[BaseException] = []

    def serving() -> None:
        try:
            serve(done_out)
            if loaded:
                then(loaded[0])
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            failures.append(error)
            pause.give_up(error)

    thread = threading.Thread(target=serving, name="serving", daemon=True)
    thread.start()
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        with _quick_switching(), pause.kept():
            loaded.append(load())
    finally:
        os.close(done_in)
        thread.join()
        os.close(done_out)
    if failures:
        raise failures[0]


@contextmanager
def _quick_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
