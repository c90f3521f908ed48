"""Parsers of /proc: real texts, damaged ones, and arbitrary bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.instrumentation import proc_files

STAT = b"""cpu  100 20 30 4000 50 6 7 8 0 0
cpu0 50 10 15 2000 25 3 4 4 0 0
cpu1 50 10 15 2000 25 3 3 4 0 0
intr 1 2 3
ctxt 5
"""
STATUS = b"""Name:\tnode
State:\tS (sleeping)
VmPeak:\t  999999 kB
VmHWM:\t   60000 kB
VmRSS:\t   50000 kB
Threads:\t11
SigQ:\t0/1
"""
MEMINFO = b"MemTotal:         200000 kB\nMemFree:           20000 kB\nMemAvailable:     150000 kB\n"
NET_DEV = b"""Inter-|   Receive                                                |  Transmit
 face |bytes  packets errs drop fifo frame compressed multicast|bytes  packets errs drop fifo colls carrier compressed
    lo: 1000000    10    0    0    0     0          0         0 1000000    10    0    0    0     0       0          0
vint_runtime:  500     5    0    0    0     0          0         0      70     7    0    0    0     0       0          0
  eth9:40     5    0    0    0     0          0         0      2     7    0    0    0     0       0          0
telemetry1_sb: 90000     5    0    0    0     0          0         0  8000     7    0    0    0     0       0          0
"""


def test_cpu_ticks_are_those_of_all_cores() -> None:
    """Idle and waiting for the disk are no use of the CPU; steal is separate."""
    assert proc_files.cpu_ticks(STAT) == (100 + 20 + 30 + 6 + 7, 8)
    assert proc_files.cores(STAT) == 2


def test_status_has_memory_and_threads() -> None:
    """The kernel writes KiB."""
    assert proc_files.process_status(STATUS) == (50_000 * 1024, 60_000 * 1024, 11)


def test_ended_process_has_no_values() -> None:
    """A zombie has threads and no memory."""
    zombie = b"Name:\tnode\nState:\tZ (zombie)\nThreads:\t1\n"
    assert proc_files.process_status(zombie) == (None, None, None)


def test_used_memory_excludes_what_is_available() -> None:
    """Page cache that can be reclaimed is available."""
    assert proc_files.used_memory_bytes(MEMINFO) == 50_000 * 1024


def test_network_counts_any_name_but_loopback_and_the_platforms() -> None:
    """The names of Lambda's interfaces are not documented and have changed."""
    assert proc_files.network_bytes(NET_DEV) == (540, 72)


def test_parent_is_found_behind_any_name() -> None:
    """The name of a process may contain spaces and brackets."""
    assert proc_files.parent_pid(b"12 (a) b) (c) S 7 12 12 0 -1") == 7
    assert proc_files.parent_pid(b"12 (a) S") is None
    assert proc_files.parent_pid(b"") is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (b"_HANDLER=app.handler\0PATH=/bin\0", True),
        (b"PATH=/bin\0_HANDLER=\0", True),
        (b"PATH=/bin\0MY_HANDLER=x\0", False),
        (b"NOTE=the _HANDLER=x is set\0", False),
        (b"", False),
    ],
)
def test_runtime_is_the_process_with_a_handler(environ: bytes, *, expected: bool) -> None:
    """Extensions receive no variable that begins with an underscore."""
    assert proc_files.is_runtime(environ) is expected


@pytest.mark.parametrize("cut", range(0, len(STAT.split(b"\n")[0]) + 1, 3))
def test_cut_cpu_line_gives_no_ticks(cut: int) -> None:
    """Half a number would be a wrong number."""
    found = proc_files.cpu_ticks(STAT[:cut])
    assert found is None or found[0] == 163


@pytest.mark.parametrize("cut", range(0, len(STATUS), 4))
def test_cut_status_gives_no_wrong_value(cut: int) -> None:
    """A value counts only with its unit and its line break."""
    found = proc_files.process_status(STATUS[:cut])
    complete = proc_files.process_status(STATUS)
    assert all(value in (None, whole) for value, whole in zip(found, complete, strict=True))


@pytest.mark.parametrize("cut", range(1, len(NET_DEV) - 1, 7))
def test_cut_network_table_gives_no_sum(cut: int) -> None:
    """Without its last lines the sum would be too small, unless the text ends with a complete line."""
    text = NET_DEV[:cut]
    assert (proc_files.network_bytes(text) is None) == (not text.endswith(b"\n"))


def test_memory_that_contradicts_itself_is_absent() -> None:
    """More available than total memory would be a negative use."""
    assert proc_files.used_memory_bytes(b"MemTotal: 1 kB\nMemAvailable: 2 kB\n") is None
    assert proc_files.used_memory_bytes(b"MemTotal: 1 kB\n") is None
    assert proc_files.used_memory_bytes(b"MemTotal: 1 MB\nMemAvailable: 1 kB\n") is None


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_error(text: bytes) -> None:
    """A damaged file of /proc never raises."""
    for parse in (
        proc_files.cpu_ticks,
        proc_files.process_status,
        proc_files.used_memory_bytes,
        proc_files.network_bytes,
        proc_files.parent_pid,
        proc_files.is_runtime,
    ):
        parse(text)
        parse(b"cpu  " + text)


def test_texts_of_this_kernel_are_understood() -> None:
    """The test would find a kernel that writes another form."""
    proc = Path("/proc")
    ticks = proc_files.cpu_ticks((proc / "stat").read_bytes())
    assert ticks is not None
    busy, _ = ticks
    assert busy > 0
    assert proc_files.cores((proc / "stat").read_bytes()) >= 1
    memory, peak, threads = proc_files.process_status((proc / "self" / "status").read_bytes())
    assert memory is not None
    assert peak is not None
    assert peak >= memory > 1_000_000
    assert threads is not None
    assert threads >= 1
    used = proc_files.used_memory_bytes((proc / "meminfo").read_bytes())
    assert used is not None
    assert used > 1_000_000
    assert proc_files.network_bytes((proc / "net" / "dev").read_bytes()) is not None
