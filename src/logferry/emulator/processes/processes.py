"""One process of the environment with all its descendants, from exec to the end of the last of them.

Guarantees:
- Each process leads a separate session and process group, as on Lambda. Freeze and kill therefore
  reach a shell wrapper and its child alike.
- `destroy()` returns after the last descendant has ended.

Design: the leader is not reaped before `destroy()`. Until then the kernel cannot reuse its id, and a
signal to the group cannot reach a foreign process. Linux only: pidfd reports the exit, /proc lists
the members.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logferry.emulator.processes.line_stream import LineStream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

STAT_STATE, STAT_SESSION = 0, 3
"""Fields of /proc/PID/stat, counted after the closing parenthesis of the command (proc_pid_stat(5))."""

KILL_SECONDS = 10.0
"""Time limit for the end of a killed process, in seconds. It ends when the kernel next schedules it."""

Stream = Literal["stdout", "stderr"]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_running: set[ChildProcess] = set()


class ChildProcess:
    """A started process. The constructor raises OSError if it cannot be executed.

    `on_line` is called with the stream and each line of stdout and stderr, `on_exit` once when the leader
    ends. The order of lines is kept within a stream, not between the two.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        on_line: Callable[[Stream, bytes], None],
        on_exit: Callable[[ChildProcess], None],
    ) -> None:
        self.name = name
        self.exit_code: int | None = None
        self._on_exit = on_exit
        self._ended = asyncio.Event()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            self._popen = subprocess.Popen(
                list(argv),
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                start_new_session=True,
            )
        except BaseException:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        self._streams = (
            LineStream(out_read, lambda line: on_line("stdout", line)),
            LineStream(err_read, lambda line: on_line("stderr", line)),
        )
        self._pidfd: int | None = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._leader_ended)
        _running.add(self)

    def __repr__(self) -> str:
        state = "running" if self.exit_code is None else self.how_it_ended
        return f"<ChildProcess {self.name} pid {self.pid}, {state}>"

    @property
    def pid(self) -> int:
        """The process id of the leader, which is the id of the group and of the session."""
        return self._popen.pid

    @property
    def how_it_ended(self) -> str:
        """The end in AWS's format: `exit code 0`, `exit status N` or `signal: NAME`."""
        if self.exit_code is None:
            return "running"
        if self.exit_code < 0:
            return f"signal: {signal.Signals(-self.exit_code).name}"
        return "exit code 0" if self.exit_code == 0 else f"exit status {self.exit_code}"

    def drain(self) -> None:
        """Read the lines that the process has written so far."""
        for stream in self._streams:
            stream.drain()

    def freeze(self) -> None:
        """Send SIGSTOP to the group."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT to the group."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM to the group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the group, and to members of the session that created other groups."""
        self._signal(signal.SIGKILL)
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def members(self) -> tuple[int, ...]:
        """Return the ids of all running processes of the session, including the leader."""
        if self._pidfd is None:
            return ()
        return tuple(sorted(members_of([self.pid])[self.pid]))

    def _leader_ended(self) -> None:
        if self._pidfd is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        if result is None:  # impossible: the descriptor is readable only after the exit
            raise RuntimeError(f"{self.name} (pid {self.pid}) was reported as ended and is running")
        self.exit_code = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self.drain()
        self._ended.set()
        self._on_exit(self)

    async def destroy(self) -> None:
        """Kill the rest of the session, wait for its end, reap the leader, pass on the last lines.

        A second call is safe. Raise TimeoutError if a killed process does not end, because it hangs in the
        kernel.
        """
        if self._pidfd is None:
            return
        async with asyncio.timeout(KILL_SECONDS):
            while members := self.members():
                self.kill()
                for pid in members:
                    await _wait_for_end(pid)
            await self._ended.wait()
        self._popen.wait()  # the leader has ended: this reaps it without blocking
        self.drain()
        for stream in self._streams:
            stream.close()
        os.close(self._pidfd)
        self._pidfd = None
        _running.discard(self)


async def _wait_for_end(pid: int) -> None:
    """Wait for the end of a process that need not be a child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def members_of(sessions: Collection[int]) -> dict[int, list[int]]:
    """Return the ids of the running processes of each session, in one pass over /proc."""
    found: dict[int, list[int]] = {session: [] for session in sessions}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                state, session = _state_and_session(entry.name)
                if session in found and state not in "ZX":
                    found[session].append(int(entry.name))
    return found


def _state_and_session(pid: str) -> tuple[str, int]:
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except OSError:  # the process has ended in the meantime
        return "X", 0
    fields = stat.rpartition(")")[2].split()
    return fields[STAT_STATE], int(fields[STAT_SESSION])


def resident_bytes(processes: Iterable[ChildProcess]) -> int:
    """Return the memory use of processes and their descendants, in bytes."""
    members = members_of([process.pid for process in processes])
    return sum(_resident_bytes(pid) for pids in members.values() for pid in pids)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path("/proc", str(pid), "statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):  # the process has ended in the meantime
        return 0


@atexit.register
def _kill_remaining() -> None:
    """Kill all processes if the emulator ends with an exception, because stopped ones would remain."""
    for process in list(_running):
        process.kill()
