"""Killing, and the seed that says when."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal

SIGNALS = (signal.SIGKILL, signal.SIGSEGV)
DIES_SECONDS = 5.0


def seed_of_this_run() -> int:
    """A new seed, printed; CHAOS_SEED repeats an old one."""
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"CHAOS_SEED={seed}")
    return seed


def numbers(seed: int) -> random.Random:
    """Random numbers that the seed decides."""
    return random.Random(seed)  # noqa: S311 - moments to kill at, no secrets


def strike_down(pid: int | None, number: int) -> None:
    """Send a fatal signal to a process that may be gone, and return when it has ended.

    Its main thread has a low priority, and on a busy machine does not die at once: what the test did next was still
    answered, by a process that it took for dead.
    """
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, number)
            assert select.select([process], [], [], DIES_SECONDS)[0], f"process {pid} outlives signal {number}"
        finally:
            os.close(process)
