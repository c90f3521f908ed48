"""A CPU quota of a small function: a control group whose processes get a share of one core.

Lambda assigns CPU time in proportion to memory, one complete core at 1,769 MB (developer guide,
"Configure Lambda function memory"): 7.2 % at 128 MB. The share is distributed in periods of 20 ms,
the length that has been observed on Lambda. Control groups of version 1 and 2 are supported if this
process may create them, which needs root.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PERIOD_US = 20_000
MEGABYTES_OF_A_CORE = 1769
"""Memory of a function that gets one complete core, in MB."""
_numbers = itertools.count()
"""Numbers of the groups of this process. Groups with equal names were shared by concurrent runs."""


def share_of(megabytes: int) -> float:
    """Return the share of a core that a function with that memory size gets."""
    return megabytes / MEGABYTES_OF_A_CORE


SHARE_AT_128_MB = share_of(128)


def why_impossible() -> str | None:
    """Return the reason why no quota is possible here, or None."""
    try:
        with Quota(SHARE_AT_128_MB) as quota:
            quota.impose()
    except OSError as error:
        return f"no control group can be given a CPU quota here ({error}): run as root on a machine that allows it"
    return None


class Quota:
    """A control group as a context manager, at first without a limit."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._version, mount = _controller()
        self._folder = mount / f"logferry-benchmark-{os.getpid()}-{next(_numbers)}"

    def __enter__(self) -> Self:
        """Create the group. Raises OSError if that is not permitted."""
        self._folder.mkdir(exist_ok=True)
        self.lift()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Move the remaining processes back to the parent group, and remove the group."""
        for pid in (self._folder / "cgroup.procs").read_text().split():
            (self._folder.parent / "cgroup.procs").write_text(pid)
        self._folder.rmdir()

    @property
    def procs_file(self) -> Path:
        """Return the file that moves a process into the group when its process ID is written."""
        return self._folder / "cgroup.procs"

    def add(self, pid: int) -> None:
        """Move a process into the group."""
        self.procs_file.write_text(str(pid))

    def remove(self, pid: int) -> None:
        """Move a process back to the parent group."""
        (self._folder.parent / "cgroup.procs").write_text(str(pid))

    def impose(self) -> None:
        """Limit the group to its share."""
        self._write(str(int(PERIOD_US * self._share)))

    def lift(self) -> None:
        """Remove the limit."""
        self._write("max" if self._version == 2 else "-1")

    def _write(self, quota: str) -> None:
        if self._version == 2:
            (self._folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text("-1")
            (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(quota)


def _controller() -> tuple[int, Path]:
    """Return the version of the CPU controller and the group of this process. Raises OSError without a controller."""
    ours: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        ours |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return 1, _nearest(Path(mount), ours.get("cpu", ""))
        if kind == "cgroup2" and "cpu" in (Path(mount) / "cgroup.controllers").read_text().split():
            return 2, _nearest(Path(mount), "")
    raise OSError("no CPU controller is mounted")


def _nearest(mount: Path, path: str) -> Path:
    """Return the group of this process, or the root if the mount does not contain it, as in a container."""
    return mount / path if (mount / path).is_dir() else mount
