"""A CPU quota as a small function has it: a control group whose processes get a share of one core.

Lambda gives a function CPU in proportion to its memory, one whole core at 1,769 MB (developer guide, "Configure Lambda
function memory"): 7.2 % at 128 MB. The share is dealt out in periods of 20 ms, the length that Lambda has been seen to
use. Works on control groups of version 1 and 2, where this process may make them: that needs root.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PERIOD_US = 20_000
SHARE_AT_128_MB = 128 / 1769
_NAME = f"logferry-benchmark-{os.getpid()}"
"""Of this process: two runs at once took the group from each other."""


def why_impossible() -> str | None:
    """Why no quota can be set here, or None."""
    try:
        with Quota(SHARE_AT_128_MB) as quota:
            quota.impose()
    except OSError as error:
        return f"no control group can be given a CPU quota here ({error}): run as root on a machine that allows it"
    return None


class Quota:
    """A control group as a context manager; at first it has no limit."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._version, mount = _controller()
        self._folder = mount / _NAME

    def __enter__(self) -> Self:
        """Make the group. Raises OSError where that is not allowed."""
        self._folder.mkdir(exist_ok=True)
        self.lift()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Put what still lives in it back where it came from, and remove it."""
        for pid in (self._folder / "cgroup.procs").read_text().split():
            (self._folder.parent / "cgroup.procs").write_text(pid)
        self._folder.rmdir()

    @property
    def door(self) -> Path:
        """The file that takes the pids of processes that shall be in."""
        return self._folder / "cgroup.procs"

    def add(self, pid: int) -> None:
        """Put a process under the quota."""
        self.door.write_text(str(pid))

    def expel(self, pid: int) -> None:
        """Put a process back."""
        (self._folder.parent / "cgroup.procs").write_text(str(pid))

    def impose(self) -> None:
        """Limit the group to its share."""
        self._write(str(int(PERIOD_US * self._share)))

    def lift(self) -> None:
        """Take the limit away."""
        self._write("max" if self._version == 2 else "-1")

    def _write(self, quota: str) -> None:
        if self._version == 2:
            (self._folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text("-1")
            (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(quota)


def _controller() -> tuple[int, Path]:
    """The version of the CPU controller and this process's own group in it. Raises OSError when there is none."""
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
    """Our own group, or the root where the mount does not show it, as inside a container."""
    return mount / path if (mount / path).is_dir() else mount
