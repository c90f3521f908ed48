"""Samples of a machine whose files are damaged and whose processes are replaced, and of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from logferry.instrumentation.process_usage import ProcessUsage
from logferry.instrumentation.runtime_processes import runtime_pids
from logferry.instrumentation.usage import COUNTERS, LEVELS, Sample
from logferry.instrumentation.usage_sampler import UsageSampler, process_cpu_ns
from support.fake_proc import FakeProc

if TYPE_CHECKING:
    from pathlib import Path

SUPERVISOR, RUNTIME, CHILD = 20, 30, 10
LAMBDA = 5
"""Parent of the supervisor and of the runtime."""
OWN_NS = 7_000
ALL_FIELDS = {
    *("cpuMs", "ownCpuMs", "environmentCpuMs", "stealMs", "cores", "receivedBytes", "sentBytes"),
    *("rssBytes", "peakRssBytes", "environmentBytes", "tmpUsedBytes", "tmpBytes", "descriptors", "threads"),
}
"""Fields of a complete sample."""


@pytest.fixture
def machine(tmp_path: Path) -> FakeProc:
    """Return a machine with a supervisor, a runtime, and a program of the function with a smaller ID."""
    proc = FakeProc(tmp_path / "proc")
    proc.process(SUPERVISOR, parent=LAMBDA, cpu_ns=500)
    proc.process(CHILD, parent=RUNTIME, handler=True)
    proc.process(RUNTIME, parent=LAMBDA, cpu_ns=9000, handler=True)
    return proc


def sampler(proc: FakeProc) -> UsageSampler:
    """Return a sampler of a machine."""
    return UsageSampler(
        tmp=str(proc.root),
        supervisor_pid=SUPERVISOR,
        proc=str(proc.root),
        cpu_ns=proc.cpu_ns,
        shipper_cpu_ns=lambda: OWN_NS,
    )


def fields_of(sample: Sample) -> set[str]:
    """Return the fields that could be read."""
    return {*counters_of(sample), *(sample.values or {})}


def counters_of(sample: Sample) -> dict[str, int]:
    """Return the counters that could be read, by their fields."""
    counters = zip(COUNTERS, sample.counters or (), strict=sample.counters is not None)
    found = {"cpuMs": sample.cpu_ns, "ownCpuMs": sample.own_cpu_ns, **dict(counters)}
    return {name: value for name, value in found.items() if value is not None}


def test_sample_has_the_values_of_the_runtime_and_of_the_machine(machine: FakeProc) -> None:
    """The runtime is the process with the parent of the supervisor, not a program that inherited its environment."""
    found = sampler(machine).sample()
    disk = shutil.disk_usage(machine.root)
    assert found.runtime_pid == RUNTIME
    assert counters_of(found) == {
        "cpuMs": 9000,
        "ownCpuMs": OWN_NS + 500,
        "environmentCpuMs": 100,
        "stealMs": 1,
        "receivedBytes": 10,
        "sentBytes": 20,
    }
    assert found.values is not None
    assert found.values == {
        "rssBytes": 10 * 1024,
        "peakRssBytes": 20 * 1024,
        "environmentBytes": 50 * 1024,
        "tmpUsedBytes": found.values["tmpUsedBytes"],
        "tmpBytes": disk.total,
        "descriptors": 3,
        "threads": 4,
        "cores": 2,
    }


def test_files_that_stay_open_show_new_values(machine: FakeProc) -> None:
    """The kernel makes the text at each read."""
    usage = sampler(machine)
    usage.sample()
    machine.counters(busy=150, steal=2, received=11, sent=22)
    machine.clocks[RUNTIME] = 9999
    found = usage.sample()
    machines = ("environmentCpuMs", "stealMs", "receivedBytes", "sentBytes")
    assert [counters_of(found)[name] for name in machines] == [150, 2, 11, 22]
    assert counters_of(found)["cpuMs"] == 9999


def test_table_of_many_interfaces_is_read_completely(machine: FakeProc) -> None:
    """The kernel returns at most a page at once."""
    lines = [f" if{n}: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n" for n in range(500)]
    machine.write("net/dev", "head\nhead\n" + "".join(lines))
    found = sampler(machine).sample()
    assert found.counters is not None
    assert found.counters[2:] == (500, 1000)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("stat", {"environmentCpuMs", "stealMs", "cores"}),
        ("net/dev", {"receivedBytes", "sentBytes"}),
        ("meminfo", {"environmentBytes"}),
        (f"{RUNTIME}/status", {"rssBytes", "peakRssBytes", "threads"}),
    ],
)
@pytest.mark.parametrize("damage", ["removed", "directory", "half", "junk"])
def test_damaged_file_leaves_out_its_fields_alone(machine: FakeProc, name: str, fields: set[str], damage: str) -> None:
    """Everything else is sampled."""
    path = machine.root / name
    text = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage != "removed":
        path.write_bytes(text[:14] if damage == "half" else b"\xff\0 7 junk\n" * 9)
    assert ALL_FIELDS - fields_of(sampler(machine).sample()) == fields


def test_runtime_that_cannot_be_identified_leaves_out_its_fields(machine: FakeProc) -> None:
    """The environment of another user's process is not readable."""
    for pid in (RUNTIME, CHILD):
        (machine.root / str(pid) / "environ").unlink()
    found = sampler(machine).sample()
    assert found.runtime_pid is None
    missing = {"cpuMs", "rssBytes", "peakRssBytes", "descriptors", "threads"}
    assert ALL_FIELDS - fields_of(found) == missing


def test_replaced_runtime_is_found_again(machine: FakeProc) -> None:
    """A runtime that has ended is searched for once more at each sample."""
    usage = sampler(machine)
    assert usage.sample().runtime_pid == RUNTIME
    machine.end(CHILD)
    machine.end(RUNTIME)
    gone = usage.sample()
    assert gone.runtime_pid is None
    assert fields_of(gone).isdisjoint({"cpuMs", "rssBytes", "descriptors"})
    machine.process(44, parent=LAMBDA, cpu_ns=5, handler=True, rss=99)
    found = usage.sample()
    assert found.values is not None
    assert (found.runtime_pid, found.cpu_ns, found.values["rssBytes"]) == (44, 5, 99 * 1024)


def test_processes_are_searched_only_while_there_is_no_runtime(
    machine: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search reads the environment of every process."""
    usage = sampler(machine)
    usage.sample()
    monkeypatch.setattr("logferry.instrumentation.usage_sampler.runtime_pids", None)
    assert usage.sample().runtime_pid == RUNTIME


def test_runtime_that_is_not_found_is_searched_for_rarely(machine: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search reads every process, so its cost must not be part of each invocation."""
    machine.end(CHILD)
    machine.end(RUNTIME)
    searches: list[int] = []

    def counted(**arguments: Any) -> list[int]:
        searches.append(len(searches))
        return runtime_pids(**arguments)

    monkeypatch.setattr("logferry.instrumentation.usage_sampler.runtime_pids", counted)
    usage = sampler(machine)
    for _ in range(200):
        assert usage.sample().runtime_pid is None
    assert 5 <= len(searches) <= 10
    machine.process(44, parent=LAMBDA, handler=True)
    assert 44 in {usage.sample().runtime_pid for _ in range(200)}


def test_levels_are_the_values_for_maxima(machine: FakeProc) -> None:
    """A sample inside an invocation reads less."""
    usage = sampler(machine)
    usage.sample()
    found = usage.levels()
    assert found.keys() >= set(LEVELS)
    assert found.keys() <= ALL_FIELDS


def test_sample_that_is_not_complete_reads_no_file(machine: FakeProc) -> None:
    """Its cost is that of the clocks. The runtime is searched for once."""
    usage = sampler(machine)
    usage.sample(complete=False)
    shutil.rmtree(machine.root)
    found = usage.sample(complete=False)
    assert (found.runtime_pid, found.cpu_ns, found.own_cpu_ns) == (RUNTIME, 9000, OWN_NS + 500)
    assert (found.counters, found.values) == (None, None)


def test_supervisor_that_has_ended_leaves_out_the_own_cpu_time(machine: FakeProc) -> None:
    """The sum would be too small."""
    machine.end(SUPERVISOR)
    assert "ownCpuMs" not in fields_of(sampler(machine).sample())


def test_missing_proc_and_tmp_leave_out_everything_else(tmp_path: Path) -> None:
    """A sample never raises."""
    usage = UsageSampler(tmp=str(tmp_path / "none"), supervisor_pid=2**22 + 1, proc=str(tmp_path / "none"))
    assert fields_of(usage.sample()) == set()
    assert usage.levels() == {}


def test_siblings_of_the_supervisor_come_first(machine: FakeProc) -> None:
    """Their descendants follow. A function that another process has started is left out."""
    machine.process(60, parent=CHILD, handler=True)
    machine.process(70, parent=99, handler=True)
    assert runtime_pids(supervisor_pid=SUPERVISOR, proc=str(machine.root)) == [RUNTIME, CHILD, 60]


def test_every_process_with_a_handler_counts_without_a_sibling(machine: FakeProc) -> None:
    """A platform may start the runtime in another way."""
    machine.end(RUNTIME)
    machine.process(70, parent=99, handler=True)
    assert runtime_pids(supervisor_pid=SUPERVISOR, proc=str(machine.root)) == [CHILD, 70]


def test_runtime_without_children_is_the_only_process(machine: FakeProc) -> None:
    """The parent of a single process does not matter."""
    machine.end(CHILD)
    assert runtime_pids(supervisor_pid=SUPERVISOR, proc=str(machine.root)) == [RUNTIME]


def test_process_usage_sums_the_processes_of_the_runtime(machine: FakeProc) -> None:
    """The first record has the CPU time since the starts; a new process counts from its start, an ended one not."""
    usage = ProcessUsage(
        supervisor_pid=SUPERVISOR, cpu_ns=machine.cpu_ns, own_cpu_ns=lambda: OWN_NS, proc=str(machine.root)
    )
    first = usage.take(0.0)
    assert (first["processes"], first["descriptors"], first["threads"]) == (2, 6, 8)
    assert (first["rssBytes"], first["peakRssBytes"]) == (20 * 1024, 40 * 1024)
    machine.clocks[RUNTIME] += 2_000_000
    machine.end(CHILD)
    machine.process(41, parent=RUNTIME, cpu_ns=3_000_000, handler=True)
    assert usage.take(60.0) == {
        "seconds": 60.0,
        "processes": 2,
        "cpuMs": 5.0,
        "ownCpuMs": 0.0,
        "rssBytes": 20 * 1024,
        "peakRssBytes": 40 * 1024,
        "descriptors": 6,
        "threads": 8,
    }


def test_process_usage_without_a_process_has_no_values(tmp_path: Path) -> None:
    """An unreadable /proc leaves the fields out."""
    usage = ProcessUsage(supervisor_pid=1, cpu_ns=process_cpu_ns, own_cpu_ns=lambda: None, proc=str(tmp_path / "none"))
    assert usage.take(60.0) == {"seconds": 60.0, "processes": 0}


def test_clock_of_another_process_is_its_exact_cpu_time() -> None:
    """The kernel counts all threads of a process, also those of another process, to the nanosecond."""
    code = (
        "import sys, threading, time\n"
        "def burn():\n"
        "    while time.process_time() < 0.2: pass\n"
        "threads = [threading.Thread(target=burn) for _ in range(3)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(time.process_time_ns(), flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        stated = int(process.stdout.readline())
        measured = process_cpu_ns(process.pid)
    assert stated <= measured < 1.05 * stated + 5_000_000
    with pytest.raises(OSError, match=r"."):
        process_cpu_ns(process.pid)


def test_sample_of_this_machine_is_complete_and_cheap() -> None:
    """Every value can be read here, and a sample costs about as much as an addition of 10,000 numbers."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    environment = {"_HANDLER": "app.handler", "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        process.stdout.readline()
        usage = UsageSampler(tmp="/tmp", supervisor_pid=process.pid)  # noqa: S108 - any file system
        first = usage.sample()
        began = time.process_time()
        for _ in range(200):
            usage.sample()
        spent = time.process_time() - began
        reference = time.process_time()
        for _ in range(200):
            sum(range(20_000))
        reference = time.process_time() - reference
    assert first.runtime_pid is not None
    assert fields_of(first) == ALL_FIELDS
    assert spent < 3 * reference, "a sample takes longer than an addition of 60,000 numbers"
