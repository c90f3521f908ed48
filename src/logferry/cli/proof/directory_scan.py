"""Scan of the files of a directory, by one process for each processor.

Guarantees:
- Each file is scanned. Files of a process that ended early are scanned again by this one.
- No process and no descriptor is left after `stop`. If this process is killed, the others end after their chunk.
- A small directory is scanned by this process alone, and so is any other one if no process can be started.

Design: the work is bound by the processor. The other processes are forks, which have the names already
and begin within a millisecond, while this process still imports DuckDB. They take the numbers of chunks
from one pipe, so that no process waits for another one. A fork of a process with threads can block, so
it needs a process that has none.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
from typing import TYPE_CHECKING

from logferry.cli.local_files import read_file
from logferry.cli.proof.object_scan import ObjectScan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIN_FILES = 500
"""Number of files below which a second process is not worth its start."""
MAX_PROCESSES = 8
"""Maximum number of processes: more of them wait for the disk."""
CHUNK_FILES = 32
"""Number of files that a process takes at once."""
_MAX_CHUNKS = 1024
_NUMBER_BYTES = 4
"""Size of the number of a chunk in the pipe. All of them fit into one page, which each pipe can hold."""
_THREADS = "/proc/self/task"


class DirectoryScan:
    """The scan of files of a directory, which begins at once. Call `finish`, and `stop` in any case."""

    def __init__(self, root: str, names: Sequence[str]) -> None:
        self._root = root
        self._names = names
        self._chunk = max(CHUNK_FILES, -(-len(names) // _MAX_CHUNKS))
        self._chunks = -(-len(names) // self._chunk)
        self._scan = ObjectScan()
        self._queue, writer = os.pipe()
        with open(writer, "wb") as file:  # noqa: PTH123 - a descriptor
            file.writelines(number.to_bytes(_NUMBER_BYTES, "little") for number in range(self._chunks))
        self._processes: dict[int, int] = {}
        """Pipe of the result of each process, by its ID."""
        if len(names) >= MIN_FILES and _is_single_threaded():
            with contextlib.suppress(OSError):  # a limit of processes or of descriptors
                for _ in range(min(len(os.sched_getaffinity(0)), MAX_PROCESSES) - 1):
                    self._fork()

    def finish(self, update: Callable[[int, int], None]) -> ObjectScan:
        """Scan what no process has taken, and return the rows of all files.

        `update` receives the number of files that have been taken, and their total.
        """
        done = set(self._work(update))
        for pid, pipe in [*self._processes.items()]:
            done |= self._collect(pid, pipe)
        for chunk in set(range(self._chunks)) - done:
            self._scan_chunk(chunk)
        update(len(self._names), len(self._names))
        return self._scan

    def stop(self) -> None:
        """End the processes that are still running."""
        for pid, pipe in self._processes.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pipe)
        self._processes.clear()
        if self._queue >= 0:
            os.close(self._queue)
            self._queue = -1

    def _fork(self) -> None:
        parent = os.getpid()
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid:
            os.close(writer)
            self._processes[pid] = reader
            return
        try:
            chunks = self._work(is_wanted=lambda: os.getppid() == parent)
            with open(writer, "wb") as file:  # noqa: PTH123
                marshal.dump((chunks, self._scan.rows, self._scan.others), file)
        finally:
            os._exit(0)  # the parent process has the terminal, the buffers and the exit handlers

    def _collect(self, pid: int, pipe: int) -> set[int]:
        """Take over the result of a process, and return its chunks. They are empty if it ended early."""
        with open(pipe, "rb", closefd=False) as file:  # Ctrl-C can end this wait, and `stop` closes the pipe
            content = file.read()
        del self._processes[pid]
        os.close(pipe)
        os.waitpid(pid, 0)
        try:
            chunks, rows, others = marshal.loads(content)  # noqa: S302 - from a fork of this process
        except (EOFError, ValueError, TypeError):
            return set()
        self._scan.rows += rows
        self._scan.others += others
        return set(chunks)

    def _work(
        self,
        update: Callable[[int, int], None] = lambda _done, _total: None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> list[int]:
        """Scan chunks until none is left or wanted, and return their numbers."""
        chunks = []
        while is_wanted() and (number := os.read(self._queue, _NUMBER_BYTES)):
            chunk = int.from_bytes(number, "little")
            self._scan_chunk(chunk)
            chunks.append(chunk)
            update(min(chunk * self._chunk, len(self._names)), len(self._names))
        return chunks

    def _scan_chunk(self, chunk: int) -> None:
        start = chunk * self._chunk
        for number, name in enumerate(self._names[start : start + self._chunk], start):
            self._scan.take(number, name, read_file(f"{self._root}/{name}"))


def _is_single_threaded() -> bool:
    """Return whether this process has one thread, as far as the system shows it."""
    try:
        return len(os.listdir(_THREADS)) == 1  # noqa: PTH208 - pathlib takes 5 ms to import
    except OSError:
        return False
