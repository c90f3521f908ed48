"""The scan of a directory by several processes: the same result as by one, also if a process is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.local_files import object_names
from logferry.cli.proof import directory_scan
from logferry.cli.proof.directory_scan import DirectoryScan
from logferry.cli.verify.directory_verification import verify_directory
from support import stored_prefix

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = 200
SCAN = """
import json, os, sys
from logferry.cli.local_files import object_names
from logferry.cli.proof import directory_scan

root, processes, before = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.sched_getaffinity = lambda _: set(range(processes))
directory_scan.MIN_FILES, directory_scan.CHUNK_FILES = 2, 4
parent = os.getpid()
read_file, take_chunk = directory_scan.read_file, directory_scan.DirectoryScan._scan_chunk
forks = []
fork = os.fork

def counted_fork():
    pid = fork()
    forks.append(pid)
    return pid

os.fork = counted_fork
exec(before)
names = sorted(object_names(root))
scan = directory_scan.DirectoryScan(root, names)
seen = []
try:
    found = scan.finish(lambda done, total: seen.append((done, total)))
finally:
    scan.stop()
try:
    os.waitpid(-1, os.WNOHANG)
    left = True
except ChildProcessError:
    left = False
print(json.dumps({
    "rows": sorted(found.rows), "others": sorted(found.others), "forks": len(forks), "left": left,
    "files": len(os.listdir("/proc/self/fd")), "seen": seen[-1],
}))
"""
"""Program of a scan in a process without threads. `before` runs before the scan."""
KILLED = """
def killed(path):
    if os.getpid() != parent:
        os._exit(9)
    return read_file(path)
directory_scan.read_file = killed
"""
KILLED_LATER = """
def killed(scan, chunk):
    take_chunk(scan, chunk)
    if os.getpid() != parent:
        os.kill(os.getpid(), 9)
directory_scan.DirectoryScan._scan_chunk = killed
"""
FAILING = """
def failing(path):
    if os.getpid() != parent:
        raise MemoryError
    return read_file(path)
directory_scan.read_file = failing
"""
NO_PROCESS = """
def refused():
    forks.append(0)
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refused
"""
INTERRUPTED = """
import atexit, signal
def sleeping(path):
    if os.getpid() != parent:
        signal.pause()
    return read_file(path)
directory_scan.read_file = sleeping
collect = directory_scan.DirectoryScan._collect
def interrupted(scan, pid, pipe):
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return collect(scan, pid, pipe)
directory_scan.DirectoryScan._collect = interrupted
signal.signal(signal.SIGALRM, signal.default_int_handler)
def report():
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print(len(forks), "forks, no process is left")
atexit.register(report)
"""
UNFINISHED = """
import atexit, time
directory_scan.read_file = lambda path: time.sleep(120)
directory_scan.DirectoryScan.finish = lambda scan, update: 1 / 0
def report():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print(len(forks), "forks, no process is left")
atexit.register(report)
"""
THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix with one object that needs the complete check."""
    prefix = stored_prefix.write(tmp_path_factory.mktemp("prefix"), OBJECTS)
    stored_prefix.cut_gzip(prefix, *min(prefix.paths))
    return prefix.root


def scanned(root: Path, processes: int, before: str = "") -> dict[str, Any]:
    """Return the result of a scan with this number of processors."""
    command = [sys.executable, "-c", SCAN, str(root), str(processes), before]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_several_processes_have_the_result_of_one(root: Path) -> None:
    """Each object is scanned once, and no process and no descriptor is left."""
    alone, together = scanned(root, 1), scanned(root, 3)
    assert (alone["forks"], together["forks"]) == (0, 2)
    assert len(alone["rows"]) == OBJECTS - 1
    assert len(alone["others"]) == 1
    for name in ("rows", "others", "files", "left", "seen"):
        assert together[name] == alone[name], name
    assert together["left"] is False
    assert together["seen"] == [OBJECTS, OBJECTS]


@pytest.mark.parametrize("before", [KILLED, KILLED_LATER, FAILING], ids=["killed", "killed later", "failing"])
def test_files_of_a_process_that_ended_early_are_scanned_again(root: Path, before: str) -> None:
    """The system kills a process if the memory is exhausted."""
    found = scanned(root, 3, before)
    assert found["forks"] == 2
    assert (len(found["rows"]), len(found["others"]), found["left"]) == (OBJECTS - 1, 1, False)
    assert len(set(found["rows"])) == OBJECTS - 1


def test_a_limit_of_processes_leaves_the_files_to_this_one(root: Path) -> None:
    """No descriptor of the attempt is left."""
    alone, found = scanned(root, 1), scanned(root, 3, NO_PROCESS)
    assert found["forks"] == 1
    for name in ("rows", "others", "files", "left"):
        assert found[name] == alone[name], name


def test_ctrl_c_ends_processes_whose_result_is_awaited(root: Path) -> None:
    """A process can wait for a slow disk for a long time."""
    command = [sys.executable, "-c", SCAN, str(root), "3", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert done.stdout == "2 forks, no process is left\n"


def test_a_process_with_threads_scans_alone(root: Path) -> None:
    """A fork copies the locks of the other threads, but not the threads."""
    found = scanned(root, 3, THREAD)
    assert (found["forks"], len(found["rows"])) == (0, OBJECTS - 1)


def test_stop_ends_the_processes_of_an_unfinished_scan(root: Path) -> None:
    """An error of this process, such as a missing library, leaves no process behind."""
    command = [sys.executable, "-c", SCAN, str(root), "3", UNFINISHED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert "ZeroDivisionError" in done.stderr
    assert done.stdout == "2 forks, no process is left\n"


def test_many_files_fit_into_one_page_of_the_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full pipe would block the scan before it begins."""
    monkeypatch.setattr(directory_scan, "_is_single_threaded", lambda: False)
    names = [str(number) for number in range(40_001)]
    scan = DirectoryScan(str(tmp_path), names)
    try:
        found = scan.finish(lambda _done, _total: None)
    finally:
        scan.stop()
    assert found.rows == []
    assert sorted(found.others) == [*range(40_001)]


def test_names_of_objects_leave_out_markers_metadata_and_hidden_folders(tmp_path: Path) -> None:
    """A file of metadata without its object is listed, so that the check names it."""
    for name in (
        *(
            "a/1.gz",
            "a/1.gz.meta.json",
            "a/lost.gz.meta.json",
            "b_$folder$/2.gz",
            "compact/x.parquet",
            "a/compact/3.gz",
        ),
        *("_SUCCESS", "a/_temporary/4.gz", ".hidden/5.gz", "a/.6.gz", "a/c_$folder$"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = sorted(object_names(str(tmp_path), without="compact"))
    assert found == ["a/1.gz", "a/compact/3.gz", "a/lost.gz", "b_$folder$/2.gz"]
    assert "compact/x.parquet" in set(object_names(str(tmp_path)))


def test_a_named_pipe_is_unreadable(tmp_path: Path) -> None:
    """A read of it would block: its metadata make it an object."""
    os.mkfifo(tmp_path / "e.ndjson.gz")
    (tmp_path / "e.ndjson.gz.meta.json").write_text("{}")
    (tmp_path / "f.meta.json").touch()
    found = verify_directory(str(tmp_path))
    assert [key for key, _ in found.unreadable] == ["e.ndjson.gz", "f"]
    assert found.unreadable[0][1] == "it is not a regular file"
