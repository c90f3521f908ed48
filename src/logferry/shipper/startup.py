"""Import of the libraries in small steps, between which batches and events are served.

Guarantees:
- Before a module is imported, everything that has arrived is served, at most every `STEP_SECONDS`. The longest step
  is one module alone.
- Loading stands still while the queue requests it, which is while the first invocation runs.
- If another process needs the core, loading stands still for `YIELD_SECONDS` after each step, in total at most for
  `MAX_YIELD_SECONDS`. Once an event waits for the end of loading, it does not stand still for this reason.

Design: one thread. A second, niced thread for the imports would hold the interpreter's lock while it has no turn on a
busy core, so responses would wait for it. A finder at the head of `sys.meta_path` runs before each module is searched
for. It finds nothing itself, and no list of modules is necessary. The served code must not import, because the module
that is being imported may be incomplete.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

from logferry.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.shipper.bootstrap_server import BootstrapServer
    from logferry.shipper.event_queue import EventQueue

STEP_SECONDS = 0.002
"""Shortest step, in seconds: several small modules are imported between two looks at the sockets."""
YIELD_SECONDS = 0.1
"""Pause of loading after a step on a busy core, in seconds. 20 ms did not reduce the delay of a runtime's init."""
MAX_YIELD_SECONDS = 3.0
"""Limit of all these times, because a throttled CPU quota looks like a busy core."""
CONTENTION_RATIO, CONTENTION_SECONDS = 1.5, 0.0005
"""A step that took this much longer than its CPU time shows that another process needs the core."""


class SteppedImport:
    """A context in which imports are interrupted by serving; a finder for `sys.meta_path` that finds nothing."""

    def __init__(
        self,
        *,
        server: BootstrapServer,
        queue: EventQueue,
        wall_clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """Replace the clocks only in tests."""
        self._server = server
        self._queue = queue
        self._wall_clock = wall_clock
        self._cpu_clock = cpu_clock
        self._yielded = 0.0
        self._serving = False

    def __enter__(self) -> None:
        get_logger().may_import = False
        sys.meta_path.insert(0, self)
        self._start_step()

    def __exit__(self, *_exception: object) -> None:
        sys.meta_path.remove(self)
        get_logger().may_import = True

    def find_spec(self, _name: str, _path: object = None, _target: object = None) -> None:
        """Serve before a module is imported, and leave the search to the other finders."""
        if self._wall_clock() - self._wall_start >= STEP_SECONDS:
            self.serve()

    def serve(self) -> None:
        """Serve what has arrived, and longer while loading has to stand still."""
        if self._serving:
            return
        self._serving = True
        yield_until = self._wall_clock() + self._yield_seconds()
        try:
            self._server.serve(lambda: self._remaining(yield_until))
        finally:
            self._serving = False
        self._start_step()

    def _remaining(self, yield_until: float) -> float:
        """Return how long loading has to stand still, in seconds."""
        # 1. An invocation runs. 2. An event waits for the end of loading. 3. Another process may need the core.
        if seconds := self._queue.suspended_seconds():
            return seconds
        if self._queue.held:
            return 0.0
        return max(0.0, yield_until - self._wall_clock())

    def _yield_seconds(self) -> float:
        """Return how long to stand still because another process needs the core, in seconds."""
        wall, cpu = self._wall_clock() - self._wall_start, self._cpu_clock() - self._cpu_start
        if wall <= CONTENTION_RATIO * cpu + CONTENTION_SECONDS:
            return 0.0
        seconds = min(YIELD_SECONDS, MAX_YIELD_SECONDS - self._yielded)
        self._yielded += seconds
        return seconds

    def _start_step(self) -> None:
        self._wall_start, self._cpu_start = self._wall_clock(), self._cpu_clock()


def collect_from_here() -> None:
    """Start garbage collection; all objects that exist now are excluded from it.

    It is off since the fork, because modules stay: a search for garbage among them took 7 % of the CPU time of loading.
    """
    gc.freeze()
    gc.enable()
