"""The forked shipper as the supervisor sees it: a pid and a channel.

Promises: nothing here blocks without the bound it is given; silence is measured only while somebody waits, so that a
freeze never looks like one. As bare as the supervisor (`_socket`, `posix`), for the same reason.
"""

import _socket
import posix
import select
import sys
import time

from logferry import ipc
from logferry.supervisor import http

PING_AFTER_SECONDS = 0.5
"""How long an event is waited for before the shipper is asked whether it is there: most invocations see no ping."""
HUNG_SECONDS = 3.0
"""Waited for an answer to a ping before the shipper counts as hung: on 7 % of a core an import may take a second."""


class ShipperProcess:
    """The forked process that does the work, as seen from here: a pid and the channel to it."""

    def __init__(self, *, pid: int, channel: _socket.socket) -> None:
        self._pid = pid
        self._channel = channel
        self._pinged = False
        self._silent_seconds = 0.0

    @classmethod
    def start(
        cls, *, listener: _socket.socket, api: http.Connection, environment: str, restarts: int, door: str, quiet: bool
    ) -> "ShipperProcess":
        """Fork; the child runs `logferry.shipper.main` and never returns. `quiet` suppresses a repeated traceback."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        pid = posix.fork()
        if pid == 0:
            ours.close()
            api.close()
            posix._exit(_become_shipper(theirs, listener, environment, restarts, door, quiet=quiet))
        theirs.close()
        return cls(pid=pid, channel=ours)

    def fileno(self) -> int:
        """The channel's descriptor."""
        return self._channel.fileno()

    def send(self, packet: bytes) -> None:
        """Put a packet on the channel; a channel that is full or broken shows in the next `receive`."""
        try:
            self._channel.send(packet, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            return

    def nudge(self) -> None:
        """Say by a signal that an event comes: a packet is read only when its reader has its turn, see `pause`."""
        try:
            posix.kill(self._pid, ipc.NUDGE)
        except OSError:
            return

    def receive(self, seconds: float) -> bytes | None:
        """The next packet; empty when the shipper has ended; None when `seconds` have passed without one."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        began = time.monotonic()
        if not poll.poll(max(0, seconds * 1000)):
            self.waited(time.monotonic() - began)
            return None
        message = self._packet()
        self._pinged, self._silent_seconds = False, 0.0
        return message

    def waited(self, seconds: float) -> None:
        """Somebody has waited that long for a word: after a while it is asked for one."""
        self._silent_seconds += seconds
        if not self._pinged and self._silent_seconds >= PING_AFTER_SECONDS:
            self.send(ipc.PING)
            self._pinged, self._silent_seconds = True, 0.0

    def _packet(self) -> bytes:
        """One packet that is there, empty at the end.

        A shipper that ends with packets unread makes the kernel report ECONNRESET once, ahead of what it had still
        said: its reason to idle was lost that way, and it was started again and again
        (tests/e2e/test_trouble.py, the missing destination).
        """
        for _ in range(2):
            try:
                return self._channel.recv(ipc.PACKET_BYTES)
            except OSError:
                continue
        return b""

    def patience(self) -> float:
        """Seconds to wait before the next look at its silence. Only time spent waiting counts, not a freeze."""
        return max(0.001, (HUNG_SECONDS if self._pinged else PING_AFTER_SECONDS) - self._silent_seconds)

    def hung(self) -> bool:
        """Whether a ping has gone unanswered for too long."""
        return self._pinged and self._silent_seconds >= HUNG_SECONDS

    def kill(self) -> str:
        """End it, whatever it does; says how it ended."""
        posix.kill(self._pid, 9)
        return self.reap()

    def dismiss(self) -> None:
        """Close the channel: the shipper takes that as the order to end."""
        self._channel.close()

    def reap(self) -> str:
        """Collect the ended process and say how it ended."""
        self._channel.close()
        _, status = posix.waitpid(self._pid, 0)
        code = posix.waitstatus_to_exitcode(status)
        return "signal %d" % -code if code < 0 else "exit code %d" % code


def _become_shipper(
    channel: _socket.socket, listener: _socket.socket, environment: str, restarts: int, door: str, *, quiet: bool
) -> int:
    """The child's whole life; its exit code. Only here is anything heavy imported."""
    try:
        import gc  # noqa: PLC0415

        gc.disable()  # while modules are loaded, `app` says why and until when
        from logferry.shipper.main import run_shipper  # noqa: PLC0415 - the parent must never pay for it

        return run_shipper(
            channel_fd=channel.detach(),
            listener_fd=listener.detach(),
            environment=environment,
            restarts=restarts,
            door=door,
        )
    except BaseException:  # noqa: BLE001 - a traceback on stderr and an exit code are all a dying child can give
        if not quiet:
            import traceback  # noqa: PLC0415

            traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
