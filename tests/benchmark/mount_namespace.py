"""A second layer tree at /opt, in a separate mount namespace, so that two layers are measured in one run.

The interpreter of a layer is linked for /opt, so both layers must be mounted there. A process that the
benchmark starts inherits the mount namespace of the thread that starts it. The thread enters the
namespace before the start and leaves it afterwards, which adds nothing to the measured time.

References: setns(2), unshare(2), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
HOLD = 'mount --bind "$0" /opt && echo ready && read -r _'
"""Shell script that mounts the tree and holds the namespace until its stdin is closed."""
END_SECONDS = 5.0


class MountNamespace:
    """A context manager: `entered` starts processes for which the tree is at /opt. Needs root."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def __enter__(self) -> Self:
        """Create the namespace. Raises OSError if that is not permitted."""
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, str(self._tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self._close()
            raise OSError(f"{self._tree} cannot be mounted at /opt in a mount namespace: run as root")
        self._namespace = os.open(f"/proc/{self._process.pid}/ns/mnt", os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the namespace."""
        os.close(self._namespace)
        self._close()

    def _close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._process.stdout.close()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Start the processes of the block in this namespace, if they are started by this thread."""
        # setns(2) refuses a mount namespace to a thread that shares its root and working directory with others.
        _call("unshare", CLONE_FS)
        folder = os.getcwd()  # noqa: PTH109 - a path object would be resolved in the other namespace
        home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
        try:
            _call("setns", self._namespace, CLONE_NEWNS)
            try:
                yield
            finally:
                _call("setns", home, CLONE_NEWNS)
                os.chdir(folder)
        finally:
            os.close(home)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
