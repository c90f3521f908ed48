"""The processes of the function's runtime, found in /proc.

Guarantees:
- A process is the runtime's if its environment has `_HANDLER`. Extensions receive no such variable.
- The other children of the process that started logferry come first. Programs that the function starts inherit its
  environment, and are their descendants. Functions of other environments on the same machine are left out.

Design: the search reads the environment of each process, so it runs once, and again when the process has ended. A
process whose environment cannot be read is skipped.
"""

from __future__ import annotations

import os

from logferry.instrumentation.proc_files import is_runtime, parent_pid

READ_BYTES = 1024 * 1024
"""Largest environment that is examined, in bytes. Lambda allows 4 KB for the function's own variables."""


def runtime_pids(*, supervisor_pid: int, proc: str = "/proc") -> list[int]:
    """Return the processes of the runtime: the siblings of the supervisor first, and then their descendants.

    If no sibling of the supervisor has a handler, return every process that has one.
    """
    found = [pid for pid in _pids(proc) if is_runtime(read_file(f"{proc}/{pid}/environ"))]
    if len(found) <= 1:
        return found
    parent = parent_pid(read_file(f"{proc}/{supervisor_pid}/stat"))
    parents = {pid: parent_pid(read_file(f"{proc}/{pid}/stat")) for pid in found}
    family = [pid for pid in found if parent and parents[pid] == parent]
    for pid in family:  # the list grows while it is read
        family += [child for child in found if parents[child] == pid and child not in family]
    return family or found


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
