"""The processes of the function's runtime, found in /proc.

Guarantees:
- A process is the runtime's if its environment has `_HANDLER`. Extensions receive no such variable.
- The other children of the process that started logferry come first. Programs that the function starts inherit its
  environment, and have another parent.

Design: the search reads the environment of each process, so it runs once, and again when the process has ended. A
process whose environment cannot be read is skipped.
"""

from __future__ import annotations

import os

from logferry.instrumentation.proc_files import is_runtime, parent_pid

READ_BYTES = 1024 * 1024
"""Largest environment that is examined, in bytes. Lambda allows 4 KB for the function's own variables."""


def runtime_pids(*, supervisor_pid: int, proc: str = "/proc") -> list[int]:
    """Return the processes of the runtime, those with the parent of the supervisor first."""
    found = [pid for pid in _pids(proc) if is_runtime(read_file(f"{proc}/{pid}/environ"))]
    if len(found) > 1:
        parent = parent_pid(read_file(f"{proc}/{supervisor_pid}/stat"))
        found.sort(key=lambda pid: parent is None or parent_pid(read_file(f"{proc}/{pid}/stat")) != parent)
    return found


def _pids(proc: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())  # noqa: PTH208 - pathlib is too large
    except OSError:
        return []


def read_file(path: str) -> bytes:
    """Return the beginning of a file of /proc; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
