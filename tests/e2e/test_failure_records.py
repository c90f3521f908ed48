"""Timeouts and exhausted memory of real functions: one record each, with the request and the evidence."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from support.end_to_end import arrived_in, assert_exactly_once, shipper_pid
from support.process_kill import kill_and_wait
from support.workload import node_function, python_function, stored

if TYPE_CHECKING:
    from pathlib import Path

BIG = 100_000
"""Memory setting in MB that no process of a test reaches."""
SMALL = 16
"""Memory setting in MB that the processes of every test exceed."""


@pytest.mark.parametrize("flush", ["invocation", "time"])
async def test_timeout_of_a_function_has_one_record(tmp_path: Path, flush: str) -> None:
    """The function runs again in the same spool after the reset."""
    async with python_function(tmp_path, {"LOGFERRY_FLUSH": flush}, timeout_seconds=2.0) as service:
        await service.invoke({"print": "before"})
        late = await service.invoke({"sleep_ms": 4000})
        again = await service.invoke({"print": "after"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    assert (late.status, again.status) == ("timeout", "success")
    (record,) = stored(tmp_path, "timeout")
    assert (record["requestId"], record["evidence"]) == (late.request_id, "platform.runtimeDone")
    assert record["durationMs"] >= 2000
    assert stored(tmp_path, "outOfMemory") == []


async def test_memory_error_of_a_python_function_has_one_record(tmp_path: Path) -> None:
    """The runtime reports the exception and survives; the record names the type of the error."""
    async with python_function(tmp_path, {"LOGFERRY_FLUSH": "time"}, memory_mb=BIG) as service:
        await service.invoke({"print": "before"})
        failed = await service.invoke({"exhaust": 32})
        await service.invoke({"print": "after"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    assert failed.status == "error"
    (record,) = stored(tmp_path, "outOfMemory")
    assert record == {"requestId": failed.request_id, "evidence": "errorType", "errorType": "MemoryError"}
    assert stored(tmp_path, "timeout") == []


async def test_heap_limit_of_a_node_function_has_one_record(tmp_path: Path) -> None:
    """Node prints its last message and aborts; the environment is reset."""
    settings = {"NODE_OPTIONS": "--max-old-space-size=24"}
    async with node_function(tmp_path, settings, memory_mb=BIG, timeout_seconds=30) as service:
        await service.invoke({"print": "before"})
        failed = await service.invoke({"exhaust": True})
        again = await service.invoke({"print": "after"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    assert (failed.error_type, again.status) == ("Runtime.ExitError", "success")
    (record,) = stored(tmp_path, "outOfMemory")
    assert (record["requestId"], record["evidence"]) == (failed.request_id, "output")
    assert record["output"].startswith("FATAL ERROR: ")


@pytest.mark.parametrize("ending", [{"exit": 137}, {"signal": int(signal.SIGKILL)}], ids=["exit 137", "SIGKILL"])
@pytest.mark.parametrize("memory_mb", [SMALL, BIG], ids=["all memory in use", "memory left"])
async def test_killed_process_ran_out_of_memory_only_if_all_of_it_was_in_use(
    tmp_path: Path, ending: dict[str, Any], memory_mb: int
) -> None:
    """The kernel's kill leaves no message; the report has the memory that was in use."""
    async with python_function(tmp_path, {}, memory_mb=memory_mb) as service:
        await service.invoke({"print": "before"})
        failed = await service.invoke(ending)
        await service.invoke({"print": "after"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    assert failed.error_type == "Runtime.ExitError"
    records = stored(tmp_path, "outOfMemory")
    assert [record["requestId"] for record in records] == [failed.request_id] * (memory_mb == SMALL)
    for record in records:
        assert record["evidence"] == "memory"
        assert record["maxMemoryUsedMB"] >= record["memorySizeMB"] == SMALL
    assert stored(tmp_path, "timeout") == []


async def test_killed_shipper_makes_no_second_record(tmp_path: Path) -> None:
    """The shipper is killed after each failure; its successor receives the report."""
    settings = {"LOGFERRY_FLUSH": "invocation"}
    async with python_function(tmp_path, settings, memory_mb=BIG, timeout_seconds=10) as service:
        failed = []
        for n in range(3):
            failed.append((await service.invoke({"print": f"{n}", "exhaust": 16 + n})).request_id)
            await service.wait_idle()
            kill_and_wait(shipper_pid(service), signal.SIGKILL)
            await asyncio.sleep(0.05)
        await service.invoke({"print": "after"})
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    assert sorted(record["requestId"] for record in stored(tmp_path, "outOfMemory")) == sorted(failed)


async def test_timeout_on_managed_instances_has_one_record(tmp_path: Path) -> None:
    """The report of the invocation is the only evidence, and no process is killed."""
    config: dict[str, Any] = {"initialization_type": "lambda-managed-instances", "timeout_seconds": 3.0}
    config |= {"max_concurrency": 2, "runtime_processes": 2}
    async with python_function(tmp_path, {"LOGFERRY_FLUSH_SECONDS": "0.5"}, **config) as service:
        results = await asyncio.gather(service.invoke({"sleep_ms": 5000}), service.invoke({"print": "in time"}))
        await service.idle_for(1.5)
        await service.shutdown()
    assert [each.status for each in results] == ["timeout", "success"]
    records = stored(tmp_path, "timeout")
    assert [(each["requestId"], each["evidence"]) for each in records] == [(results[0].request_id, "platform.report")]
