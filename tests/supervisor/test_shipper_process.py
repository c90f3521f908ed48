"""The forked shipper as the supervisor sees it: real processes, a real channel, and no wait without a bound."""

from __future__ import annotations

import _socket
import contextlib
import os
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

LIVES = """
import os, signal, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
while packet := channel.recv(65536):
    if packet == b"?":
        channel.send(b"!")
    elif packet == b"end":
        sys.exit(3)
    elif packet == b"last words":
        channel.send(b"Ibecause")
        os._exit(0)
    elif packet == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif packet == b"deaf":
        signal.pause()
    else:
        channel.send(b"echo " + packet)
"""


@contextlib.contextmanager
def shipper() -> Iterator[ShipperProcess]:
    """Give a child whose other end is a small process that does as it is told."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LIVES, str(theirs.fileno())], pass_fds=[theirs.fileno()]
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


def test_packets_go_both_ways_and_stay_whole() -> None:
    """A packet is a message: two never come as one."""
    with shipper() as it:
        it.send(b"one")
        it.send(b"two")
        assert [it.receive(5), it.receive(5)] == [b"echo one", b"echo two"]
        assert not it.hung()


def test_an_end_is_an_empty_packet_and_the_exit_code_is_told() -> None:
    """The supervisor learns at once, by the channel and not by a timer."""
    with shipper() as it:
        it.send(b"end")
        assert it.receive(5) == b""
        assert it.reap() == "exit code 3"


def test_a_crash_is_told_by_its_signal() -> None:
    """SIGSEGV in a library, SIGKILL by the OOM killer: the message says which."""
    with shipper() as it:
        it.send(b"crash")
        assert it.receive(5) == b""
        assert it.reap() == f"signal {signal.SIGSEGV.value}"


def test_last_words_are_heard_even_when_something_was_left_unread() -> None:
    """A reason to idle must not be lost behind a connection reset."""
    with shipper() as it:
        it.send(b"last words")
        it.send(b"an event that nobody reads any more")
        assert it.receive(5) == b"Ibecause"
        assert it.receive(5) == b""


def test_waiting_ends_in_time() -> None:
    """None says that nothing came within the bound."""
    with shipper() as it:
        began = time.monotonic()
        assert it.receive(0.05) is None
        assert time.monotonic() - began < 2
        assert it.receive(-1) is None


def test_silence_is_answered_with_a_ping_and_a_pong_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that is busy but alive is not killed."""
    monkeypatch.setattr(shipper_process, "PING_AFTER_SECONDS", 0.05)
    with shipper() as it:
        assert it.receive(0.06) is None
        assert it.receive(5) == ipc.PONG
        assert not it.hung()
        assert it.patience() == pytest.approx(0.05)


def test_a_shipper_that_is_deaf_counts_as_hung_and_can_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, and given its time to answer."""
    monkeypatch.setattr(shipper_process, "PING_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(shipper_process, "HUNG_SECONDS", 0.1)
    with shipper() as it:
        it.send(b"deaf")
        looks = 0
        while not it.hung():
            assert it.receive(it.patience()) is None
            looks += 1
            assert looks < 10
        assert it.kill() == f"signal {signal.SIGKILL.value}"


def test_sending_to_the_dead_or_the_deaf_neither_blocks_nor_raises() -> None:
    """A full or broken channel shows where it is read."""
    with shipper() as it:
        it.send(b"deaf")
        for _ in range(2000):
            it.send(b"x" * 1000)
        it.kill()
    with shipper() as it:
        it.send(b"end")
        assert it.receive(5) == b""
        it.send(b"x")
        it.reap()


def test_a_nudge_harms_nobody() -> None:
    """Neither one who is not prepared for the signal, nor the supervisor where there is nobody left."""
    assert ipc.NUDGE == signal.SIGURG
    with shipper() as it:
        it.nudge()
        it.send(b"one")
        assert it.receive(5) == b"echo one"
        it.kill()
        it.nudge()


def test_killing_what_has_already_ended_says_how_it_ended() -> None:
    """The supervisor may be late."""
    with shipper() as it:
        it.send(b"end")
        assert it.receive(5) == b""
        os.waitid(os.P_PID, it._pid, os.WEXITED | os.WNOWAIT)
        assert it.kill() == "exit code 3"


START = """
import sys, types
app = types.ModuleType("logferry.shipper.main")
def run_shipper(*, channel_fd, listener_fd, environment, restarts, door):
    import os, socket
    channel = socket.socket(fileno=channel_fd)
    socket.socket(fileno=listener_fd).getsockname()
    channel.send(f"{environment} {restarts} {os.getppid()} {door}".encode())
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
    listener=listener, api=http.Connection(b"127.0.0.1:1"), environment=sys.argv[1], restarts=2, door="/path",
    quiet="quietly" in sys.argv[1],
)
assert child.receive(5) == f"{sys.argv[1]} 2 {os.getpid()} /path".encode()
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
def test_a_forked_child_becomes_the_shipper_and_never_returns(environment: str, ending: str, stderr: str) -> None:
    """It gets all it needs; an exception is an exit code, and a traceback unless that was said before."""
    done = subprocess.run(
        [sys.executable, "-c", START, environment], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == ending + "\n"
    assert stderr in done.stderr
    assert bool(stderr) == bool(done.stderr)


def test_a_dismissed_child_sees_the_end_of_its_channel() -> None:
    """That is its order to end."""
    with shipper() as it:
        it.send(b"x")
        assert it.receive(5) == b"echo x"
        it.dismiss()
        assert it.fileno() == -1
        assert os.waitstatus_to_exitcode(os.waitpid(it._pid, 0)[1]) == 0
