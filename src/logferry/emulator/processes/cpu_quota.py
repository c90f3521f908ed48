"""A CPU quota for the processes of an environment: the share of a core that Lambda grants to `memory_mb`.

Guarantees:
- All processes of an environment share one control group, as the processes of a function do on Lambda.
- The group is removed at the end.

Design: Lambda grants CPU in proportion to memory, one core at 1,769 MB (developer guide, "Configure Lambda
function memory"). That is 7.2 % at 128 MB. Lambda distributes the share in periods of 20 ms. Control groups
of version 1 and 2 are supported. Creating a group needs root, so the quota is optional.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PERIOD_US = 20_000
FULL_CORE_MB = 1769
MAX_CORES = 6
"""Number of cores at the maximum memory of 10,240 MB."""

VERSION_2 = 2
_numbers = itertools.count()


class CpuQuotaError(RuntimeError):
    """No control group with a CPU quota can be created here. The message states the reason."""


def unavailable_reason() -> str | None:
    """Return the reason why no CPU quota can be set here, or None."""
    try:
        with CpuQuota(memory_mb=128):
            return None
    except CpuQuotaError as error:
        return str(error)


class CpuQuota:
    """A control group with the CPU share of a function, as a context manager."""

    def __init__(self, *, memory_mb: int) -> None:
        self._quota_us = int(PERIOD_US * min(memory_mb / FULL_CORE_MB, MAX_CORES))
        self._folder: Path | None = None

    def __repr__(self) -> str:
        return f"<CpuQuota {self._quota_us / PERIOD_US:.1%} of a core>"

    def __enter__(self) -> Self:
        try:
            version, mount = _cpu_controller()
            folder = mount / f"logferry-emulator-{os.getpid()}-{next(_numbers)}"
            folder.mkdir()
            self._folder = folder
            self._set_limit(folder, version)
        except OSError as error:
            self.close()
            raise CpuQuotaError(f"no control group with a CPU quota: {error}; root on the host is needed") from error
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def add(self, pid: int) -> None:
        """Add a process; its later children belong to the group too."""
        if self._folder is not None:
            with contextlib.suppress(ProcessLookupError):
                (self._folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Remove the group, which has to be empty. A second call is safe."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.rmdir()

    def _set_limit(self, folder: Path, version: int) -> None:
        if version == VERSION_2:
            (folder / "cpu.max").write_text(f"{self._quota_us} {PERIOD_US}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(self._quota_us))


def _cpu_controller() -> tuple[int, Path]:
    """Return version and directory of this process's CPU control group; raise OSError without one."""
    own_groups: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own_groups |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            own = Path(mount) / own_groups.get("cpu", "")
            return 1, own if own.is_dir() else Path(mount)  # a container may not show its own group
        if kind == "cgroup2" and "cpu" in (Path(mount) / "cgroup.controllers").read_text().split():
            return VERSION_2, Path(mount)
    raise OSError("no CPU controller is mounted")
