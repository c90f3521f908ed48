"""Fatal signals for tests, and the seed that determines the moments at which they are sent."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal

SIGNALS = (signal.SIGKILL, signal.SIGSEGV)
EXIT_SECONDS = 5.0
"""Maximum time from a fatal signal to the end of a process, in seconds, on a busy machine."""


def seed_from_environment() -> int:
    """Return the seed of FAULTS_SEED, or a new one, and print it so that a failed run can be repeated."""
    seed = int(os.environ.get("FAULTS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"FAULTS_SEED={seed}")
    return seed


def seeded_random(seed: int) -> random.Random:
    """Return a random number generator that the seed determines."""
    return random.Random(seed)  # noqa: S311 - moments to kill at, no secrets


def kill_and_wait(pid: int | None, number: int) -> None:
    """Send a fatal signal to a process that may have ended already, and return when it has ended.

    On a busy machine a process does not end at once. Without the wait, it still responded to the
    next step of a test that assumed its end.
    """
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, number)
            assert select.select([process], [], [], EXIT_SECONDS)[0], f"process {pid} has survived signal {number}"
        finally:
            os.close(process)
