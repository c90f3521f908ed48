"""The extension as a process: its supervisor, the shipper it has forked, and what both have printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

CHILDREN_LOOKS = 3
"""At the list of children."""


@dataclass
class Process:
    """One life of the extension."""

    process: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Of the supervisor, which is also the number of its session and group."""
        return self.process.pid

    @property
    def shipper(self) -> int | None:
        """The forked process, if there is one just now."""
        # The kernel's list of children may miss one while another ends (proc_pid_children(5)): look more than once.
        for _ in range(CHILDREN_LOOKS):
            try:
                children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            except OSError:
                return None
            if living := [int(child) for child in children if _is_alive(int(child))]:
                return living[-1]
        return None


def _is_alive(pid: int) -> bool:
    """Whether it runs: a process that has ended and is not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
