"""The extension as a process: its supervisor, the forked shipper, and the output of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

CHILDREN_READS = 3
"""Number of reads of the list of children. A single read may miss a child while another one exits."""


@dataclass
class Process:
    """One run of the extension."""

    process: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Return the process ID of the supervisor, which is also the ID of its session and process group."""
        return self.process.pid

    @property
    def shipper(self) -> int | None:
        """Return the process ID of the forked shipper, or None if there is none at the moment."""
        # The kernel's list may miss a child while another one exits (proc_pid_children(5)), so it is read repeatedly.
        for _ in range(CHILDREN_READS):
            try:
                children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            except OSError:
                return None
            if living := [int(child) for child in children if _is_alive(int(child))]:
                return living[-1]
        return None


def _is_alive(pid: int) -> bool:
    """Return whether a process runs; a process that has exited and has not been reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
