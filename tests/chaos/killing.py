"""Killing, and the seed that says when."""

from __future__ import annotations

import contextlib
import os
import random
import signal

SIGNALS = (signal.SIGKILL, signal.SIGSEGV)


def seed_of_this_run() -> int:
    """A new seed, printed; CHAOS_SEED repeats an old one."""
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"CHAOS_SEED={seed}")
    return seed


def numbers(seed: int) -> random.Random:
    """Random numbers that the seed decides."""
    return random.Random(seed)  # noqa: S311 - moments to kill at, no secrets


def strike_down(pid: int | None, number: int) -> None:
    """Send a signal to a process that may be gone."""
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
