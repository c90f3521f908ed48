"""Resource usage of real functions, measured by the real extension under the emulator."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.end_to_end import arrived_in, assert_exactly_once, records_of
from support.patched_boot import boot_with
from support.tmpfs import mounted
from support.workload import node_function, python_function, response, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USAGE = {"LOGFERRY_USAGE": "true", "LOGFERRY_FLUSH": "invocation"}
MEBIBYTE = 1024 * 1024
RUNTIME_CPU_MS = 15.0
"""CPU time that a runtime may use around its handler on a loaded machine, in milliseconds."""
BETWEEN_VALUES_SECONDS = 1.1
"""Time between two invocations that both have memory, descriptors and threads, in seconds."""
BIG_MB = 4096
SEND_OVER_AN_INTERFACE = Path(__file__).with_name("network_namespace.py")


def usages(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the usage of each invocation, in order."""
    return [summary["usage"] for summary in stored(tmp_path, "invocation")]


@pytest.mark.parametrize("function", [python_function, node_function], ids=["python", "node"])
async def test_cpu_time_of_an_invocation_is_that_of_its_handler(tmp_path: Path, function: Callable[..., Any]) -> None:
    """200 ms of CPU time are measured within 5 % and the runtime's own part, also during the first invocations."""
    async with function(tmp_path, USAGE, timeout_seconds=20, memory_mb=BIG_MB) as service:
        await service.invoke({"print": "first"})
        used = [response((await service.invoke({"cpu_ms": 200})).payload)["cpuMs"] for _ in range(3)]
        await service.invoke({"print": "last"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    summaries = stored(tmp_path, "invocation")
    assert [summary["status"] for summary in summaries] == ["success"] * 5
    measured = [summary["usage"]["cpuMs"] for summary in summaries]
    for stated, found in zip(used, measured[1:4], strict=True):
        assert 0.95 * stated <= found <= 1.05 * stated + RUNTIME_CPU_MS
    assert measured[4] < 0.5 * measured[1]
    for summary in summaries[1:]:
        assert 0 < summary["usage"]["ownCpuMs"] < 200
    assert summaries[0]["usage"]["memoryLimitBytes"] == BIG_MB * MEBIBYTE
    assert summaries[0]["usage"]["cores"] == os.cpu_count()


async def test_peak_memory_shows_what_was_freed(tmp_path: Path) -> None:
    """50 MB are allocated and freed: the peak of the process has them, its memory at the end has not."""
    async with python_function(tmp_path, USAGE) as service:
        for event in ({}, {"allocate_mb": 50}, {}):
            await service.invoke(event)
            await service.idle_for(BETWEEN_VALUES_SECONDS)
        await service.shutdown()
    before, during, after = usages(tmp_path)
    assert during["peakRssBytes"] - before["peakRssBytes"] >= 45 * MEBIBYTE
    assert during["rssBytes"] - before["rssBytes"] <= 10 * MEBIBYTE
    assert after["peakRssBytes"] >= during["peakRssBytes"]


async def test_files_descriptors_and_threads_are_counted(tmp_path: Path) -> None:
    """A file of 20 MB in /tmp, 200 descriptors and 50 threads, on a file system of its size."""
    with mounted(tmp_path / "tmp", "size=64m"):
        async with python_function(tmp_path, USAGE) as service:
            for event in ({}, {"write_mb": 20, "descriptors": 200, "threads": 50}):
                await service.invoke(event)
                await service.idle_for(BETWEEN_VALUES_SECONDS)
            await service.shutdown()
    before, after = usages(tmp_path)
    assert after["tmpBytes"] == before["tmpBytes"] == 64 * MEBIBYTE
    assert 20 * MEBIBYTE <= after["tmpUsedBytes"] - before["tmpUsedBytes"] < 22 * MEBIBYTE
    assert after["descriptors"] - before["descriptors"] >= 200
    assert after["threads"] - before["threads"] == 50


async def test_freeze_between_invocations_is_in_no_usage(tmp_path: Path) -> None:
    """A thread that never rests uses the CPU only while the environment runs."""
    async with python_function(tmp_path, USAGE) as service:
        await service.invoke({"spin": True})
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            await service.idle_for(1.0)
            await service.invoke({"sleep_ms": 50})
        await service.wait_idle()
        passed_ms = (asyncio.get_running_loop().time() - started) * 1000
        await service.shutdown()
    used = [each["cpuMs"] for each in usages(tmp_path)]
    assert len(used) == 4
    assert min(used[1:]) > 5, "the thread runs during an invocation"
    assert sum(used[1:]) < passed_ms - 3 * 1000 * 0.95, "the freeze would add a second to each invocation"


async def test_invocation_that_no_flush_holds_has_its_own_usage(tmp_path: Path) -> None:
    """The end is delivered after the freeze, and the sample is taken at the next event."""
    async with python_function(tmp_path, {"LOGFERRY_USAGE": "true", "LOGFERRY_FLUSH": "time"}) as service:
        sent = []
        for n in range(6):
            sent.append((await service.invoke({"cpu_ms": 100 if n == 3 else 0})).request_id)
            await service.idle_for(0.7)
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    summaries = stored(tmp_path, "invocation")
    assert [summary["requestId"] for summary in summaries] == sent
    used = [summary["usage"]["cpuMs"] for summary in summaries[:-1]]
    assert used[3] == max(used)
    assert 60 <= used[3] < 105 + RUNTIME_CPU_MS, "the sample at the next event may be some milliseconds late"
    assert any(summary["usage"].get("late") for summary in summaries[1:])


async def test_samples_inside_a_long_invocation_add_maxima(tmp_path: Path) -> None:
    """Memory that is freed before the end shows in the maximum of the environment."""
    settings = USAGE | {"LOGFERRY_USAGE_SECONDS": "0.1"}
    async with python_function(tmp_path, settings) as service:
        await service.invoke({})
        await service.idle_for(BETWEEN_VALUES_SECONDS)
        await service.invoke({"sleep_ms": 600, "threads": 20})
        await service.wait_idle()
        await service.shutdown()
    usage = usages(tmp_path)[1]
    assert usage["maxThreads"] == usage["threads"]
    assert usage["maxRssBytes"] >= usage["rssBytes"] > 0
    assert usage["maxEnvironmentBytes"] > 0


async def test_replaced_runtime_keeps_everything_else(tmp_path: Path) -> None:
    """The runtime ends in the middle of an invocation; the next environment measures the new one."""
    async with python_function(tmp_path, USAGE) as service:
        await service.invoke({})
        failed = await service.invoke({"signal": int(signal.SIGKILL)})
        await service.invoke({})
        again = response((await service.invoke({"cpu_ms": 100})).payload)["cpuMs"]
        await service.wait_idle()
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    summaries = stored(tmp_path, "invocation")
    assert [summary["status"] for summary in summaries] == ["success", "error", "success", "success"]
    assert summaries[1]["requestId"] == failed.request_id
    assert "rssBytes" not in summaries[1]["usage"]
    assert summaries[1]["usage"]["ownCpuMs"] > 0
    assert 0.95 * again <= summaries[3]["usage"]["cpuMs"] <= 1.05 * again + RUNTIME_CPU_MS


async def test_init_phase_is_in_no_usage(tmp_path: Path) -> None:
    """The first sample is taken at the first INVOKE event, which follows the restore of a snapshot too."""
    for kind in ("on-demand", "snap-start"):
        folder = tmp_path / kind
        folder.mkdir()
        settings = USAGE | {"INIT_CPU_MS": "400"}
        async with python_function(folder, settings, initialization_type=kind) as service:
            await service.start()
            await service.idle_for(0.1)
            for _ in range(2):
                await service.invoke({})
            await service.wait_idle()
            await service.shutdown()
        found = usages(folder)
        assert len(found) == 2
        assert max(each["cpuMs"] for each in found) < 200, kind


async def test_managed_instances_have_no_usage_of_an_invocation(tmp_path: Path) -> None:
    """The processes of the function have one record for each interval, which a patch shortens here."""
    patch = "import logferry.shipper.invocation_usage as module; module.PROCESS_USAGE_SECONDS = 0.5"
    config: dict[str, Any] = {"initialization_type": "lambda-managed-instances"}
    config |= {"max_concurrency": 3, "runtime_processes": 3, "launcher": boot_with(patch)}
    async with python_function(tmp_path, USAGE | {"LOGFERRY_FLUSH_SECONDS": "0.5"}, **config) as service:
        await service.idle_for(1.0)
        await asyncio.gather(*(service.invoke({"cpu_ms": 50}) for _ in range(9)))
        await service.idle_for(2.0)
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    summaries = stored(tmp_path, "invocation")
    assert len({summary["requestId"] for summary in summaries}) == len(summaries) == 9
    assert not [summary for summary in summaries if "usage" in summary]
    records = stored(tmp_path, "usage")
    assert max(record["processes"] for record in records) == 3  # fewer at the start and during the Shutdown phase
    fields = {"seconds", "processes", "cpuMs", "ownCpuMs", "rssBytes", "peakRssBytes", "descriptors", "threads"}
    complete = [record for record in records if record["processes"] == 3]
    assert len(complete) >= 2
    assert all(record.keys() == fields for record in complete)
    assert sum(record.get("cpuMs", 0) for record in records) >= 9 * 50 * 0.5


async def test_timeout_keeps_the_summary_of_its_invocation(tmp_path: Path) -> None:
    """The invocation has its status, its usage and one record of the timeout."""
    async with python_function(tmp_path, USAGE, timeout_seconds=2.0) as service:
        await service.invoke({})
        late = await service.invoke({"cpu_ms": 100, "sleep_ms": 4000})
        await service.shutdown()
    summary = stored(tmp_path, "invocation")[1]
    assert (summary["requestId"], summary["status"]) == (late.request_id, "timeout")
    assert summary["usage"].keys() >= {"ownCpuMs", "environmentCpuMs", "tmpUsedBytes"}
    assert [each["requestId"] for each in stored(tmp_path, "timeout")] == [late.request_id]


async def test_function_without_instrumentation_has_no_summary(tmp_path: Path) -> None:
    """The feature is off by default."""
    async with python_function(tmp_path, {}) as service:
        await service.invoke({})
        await service.shutdown()
    types = {record["type"] for record in records_of(arrived_in(tmp_path / "out"))}
    assert types
    assert not {kind for kind in types if kind.startswith("logferry.")}


def test_traffic_of_an_interface_with_any_name_is_counted() -> None:
    """10 MB over `vint_runtime` in a network namespace; 20 MB over loopback are not counted."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("unshare or ip is not installed")
    command: Sequence[str] = ["unshare", "--net", sys.executable, str(SEND_OVER_AN_INTERFACE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "not permitted" in done.stderr or "not supported" in done.stderr:
        pytest.skip(f"no network namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    sent, received = map(int, done.stdout.split())
    assert 10 * MEBIBYTE <= sent < 12 * MEBIBYTE
    assert 3 * MEBIBYTE <= received < 5 * MEBIBYTE
