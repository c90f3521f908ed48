"""The forked shipper as the supervisor sees it, with real processes and a real channel."""

from __future__ import annotations

import _socket
import contextlib
import os
import posix
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from logferry import ipc
from logferry.supervisor import shipper_process
from logferry.supervisor.shipper_process import ShipperProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(30)

PROGRAM = """
import os, signal, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
while packet := channel.recv(65536):
    if packet == b"?":
        channel.send(b"!")
    elif packet == b"exit":
        sys.exit(3)
    elif packet == b"idle and exit":
        channel.send(b"Ibecause")
        os._exit(0)
    elif packet == b"close the channel and hang":
        channel.close()
        signal.pause()
    elif packet == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif packet == b"hang":
        signal.pause()
    else:
        channel.send(b"echo " + packet)
"""


@contextlib.contextmanager
def shipper() -> Iterator[ShipperProcess]:
    """Return a shipper process that runs `PROGRAM`: each packet names its next step."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()]
    )
    theirs.close()
    try:
        yield ShipperProcess(pid=process.pid, channel=ours)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
        process.returncode = 0
        ours.close()


def test_packets_arrive_separately_in_both_directions() -> None:
    """The channel never joins two messages."""
    with shipper() as it:
        it.send(b"one")
        it.send(b"two")
        assert [it.receive(5), it.receive(5)] == [b"echo one", b"echo two"]
        assert not it.hung()


def test_receive_returns_an_empty_packet_after_the_exit_and_reap_the_exit_code() -> None:
    """The end of the channel shows an exit at once, without a timer."""
    with shipper() as it:
        it.send(b"exit")
        assert it.receive(5) == b""
        assert it.reap() == "exit code 3"


def test_reap_kills_a_process_that_closes_its_channel_and_does_not_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs during its exit must not hold the supervisor."""
    monkeypatch.setattr(shipper_process, "EXIT_SECONDS", 0.1)
    with shipper() as it:
        it.send(b"close the channel and hang")
        assert it.receive(5) == b""
        began = time.monotonic()
        assert it.reap() == f"signal {signal.SIGKILL.value}"
        assert 0.1 <= time.monotonic() - began < 5


def test_reap_works_on_a_kernel_without_process_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.3 have no `pidfd_open`; the exit is then awaited without a limit."""

    def pidfd_open(*_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(posix, "pidfd_open", pidfd_open)
    with shipper() as it:
        it.send(b"exit")
        assert it.receive(5) == b""
        assert it.reap() == "exit code 3"


def test_reap_returns_the_signal_after_a_crash() -> None:
    """The message distinguishes SIGSEGV in a library from SIGKILL of the OOM killer."""
    with shipper() as it:
        it.send(b"crash")
        assert it.receive(5) == b""
        assert it.reap() == f"signal {signal.SIGSEGV.value}"


def test_last_packet_is_received_if_the_process_exits_with_unread_packets() -> None:
    """A connection reset must not hide an IDLE message."""
    with shipper() as it:
        it.send(b"idle and exit")
        it.send(b"an event that stays unread")
        assert it.receive(5) == b"Ibecause"
        assert it.receive(5) == b""


def test_receive_returns_none_after_its_limit() -> None:
    """A negative limit does not wait at all."""
    with shipper() as it:
        began = time.monotonic()
        assert it.receive(0.05) is None
        assert time.monotonic() - began < 2
        assert it.receive(-1) is None


def test_silence_leads_to_a_ping_and_its_answer_ends_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that is busy and answers does not count as hung."""
    monkeypatch.setattr(shipper_process, "PING_AFTER_SECONDS", 0.05)
    with shipper() as it:
        assert it.receive(0.06) is None
        assert it.receive(5) == ipc.PONG
        assert not it.hung()
        assert it.seconds_until_check() == pytest.approx(0.05)


def test_process_counts_as_hung_after_an_unanswered_ping_and_can_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ping is sent, and its answer has `HUNG_SECONDS`."""
    monkeypatch.setattr(shipper_process, "PING_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(shipper_process, "HUNG_SECONDS", 0.1)
    with shipper() as it:
        it.send(b"hang")
        checks = 0
        while not it.hung():
            assert it.receive(it.seconds_until_check()) is None
            checks += 1
            assert checks < 10
        assert it.kill() == f"signal {signal.SIGKILL.value}"


def test_send_neither_blocks_nor_raises_if_the_process_hangs_or_has_ended() -> None:
    """The next `receive` shows a channel that is full or broken."""
    with shipper() as it:
        it.send(b"hang")
        for _ in range(2000):
            it.send(b"x" * 1000)
        it.kill()
    with shipper() as it:
        it.send(b"exit")
        assert it.receive(5) == b""
        it.send(b"x")
        it.reap()


def test_kill_returns_the_exit_code_of_a_process_that_has_already_ended() -> None:
    """The process may exit between the check and the kill."""
    with shipper() as it:
        it.send(b"exit")
        assert it.receive(5) == b""
        os.waitid(os.P_PID, it._pid, os.WEXITED | os.WNOWAIT)
        assert it.kill() == "exit code 3"


FORK = """
import sys, types
app = types.ModuleType("logferry.shipper.main")
def run_shipper(*, channel_fd, listener_fd, environment, restarts, path_token, account, event_sources):
    import os, socket
    channel = socket.socket(fileno=channel_fd)
    socket.socket(fileno=listener_fd).getsockname()
    channel.send(f"{environment} {restarts} {os.getppid()} {path_token} {account} {event_sources}".encode())
    if environment.startswith("fails"):
        raise RuntimeError("no libraries")
    channel.recv(1)
    return 4
app.run_shipper = run_shipper
sys.modules["logferry.shipper.main"] = app
import _socket, os
from logferry.supervisor import http
from logferry.supervisor.shipper_process import ShipperProcess
listener = _socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(1)
child = ShipperProcess.start(
    listener=listener, api=http.Connection(b"127.0.0.1:1"), environment=sys.argv[1], restarts=2,
    path_token="/path", account="1",
    quiet="quietly" in sys.argv[1],
)
assert child.receive(5) == f"{sys.argv[1]} 2 {os.getpid()} /path 1 None".encode()
if not sys.argv[1].startswith("fails"):
    child.send(b"go")
assert child.receive(5) == b""
print(child.reap())
"""


@pytest.mark.parametrize(
    ("environment", "ending", "stderr"),
    [
        ("e1", "exit code 4", ""),
        ("fails", "exit code 1", "no libraries"),
        ("fails quietly", "exit code 1", ""),
    ],
)
def test_forked_child_runs_the_shipper_and_never_returns(environment: str, ending: str, stderr: str) -> None:
    """The child passes its arguments on; an exception becomes exit code 1 and, unless quiet, a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, environment], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == ending + "\n"
    assert stderr in done.stderr
    assert bool(stderr) == bool(done.stderr)
