"""The CPU share of `memory_mb`, where control groups are available."""

from __future__ import annotations

from pathlib import Path

import pytest

from logferry.emulator.lambda_service import Lambda
from logferry.emulator.processes import cpu_quota
from logferry.emulator.processes.cpu_quota import CpuQuota, CpuQuotaError
from support.emulator_harness import PYTHON, EmulatorHarness

UNAVAILABLE = cpu_quota.unavailable_reason()
BURN = """
import time
start = time.process_time()
while time.process_time() - start < 0.1:
    pass
print("burnt", flush=True)
"""
"""A program that uses 100 ms of CPU time, which take at least 500 ms of wall time at a share of 1/7."""


def groups_of(pids: tuple[int, ...]) -> set[str]:
    """Return the names of the emulator's control groups that contain these processes."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return {line.rpartition("/")[2] for line in lines if "logferry-emulator" in line}


def exists(group: str) -> bool:
    """Return whether a control group exists."""
    return any(Path("/sys/fs/cgroup").glob(f"**/{group}"))


@pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))
async def test_all_processes_share_the_cpu_of_the_configured_memory(tmp_path: Path) -> None:
    """The processes of the function and of an extension are in one group, which disappears at the end."""
    harness = EmulatorHarness(tmp_path)
    config = harness.config(limit_cpu=True, memory_mb=1769, extensions={"ext": harness.extension()})
    async with Lambda(config) as lam:
        await lam.invoke({})
        pids = lam.runtime_pids() + lam.extension_pids("ext")
        (group,) = groups_of(pids)
        assert len(pids) == 2
        assert exists(group)
    assert not exists(group)


@pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))
async def test_a_small_function_is_slower(tmp_path: Path) -> None:
    """At 256 MB, a seventh of a core, 100 ms of CPU time take several times as long."""
    config = EmulatorHarness(tmp_path).config(
        limit_cpu=True, memory_mb=256, extensions={}, function=[*PYTHON, "-c", BURN], timeout_seconds=10
    )
    async with Lambda(config) as lam:
        await lam.start()
    (started, *_), (burnt, *_) = lam.timeline.of("process", "runtime"), lam.timeline.of("output", "runtime")
    assert burnt.at_ms - started.at_ms > 500


def test_a_missing_controller_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error states the cause and the remedy."""

    def no_controller() -> tuple[int, Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cpu_quota, "_cpu_controller", no_controller)
    with pytest.raises(CpuQuotaError, match=r"Permission denied; root on the host is needed"), CpuQuota(memory_mb=128):
        pass
    assert "Permission denied" in str(cpu_quota.unavailable_reason())
