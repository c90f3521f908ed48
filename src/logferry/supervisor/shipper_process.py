"""The forked shipper process as the supervisor sees it: a process ID and a channel.

Guarantees:
- No call waits longer than the limit that it is given.
- Only time that the supervisor spends waiting counts as silence, so a freeze never looks like a
  hung process.
- The parent imports nothing beyond its own modules. The child imports the shipper.

Design: the supervisor forks, because the child needs the listening socket and a second interpreter
start would cost 8 ms. The module is as bare as the supervisor (`_socket`, `posix`) for the same
reason.
"""

import _socket
import posix
import select
import sys
import time

from logferry import ipc
from logferry.supervisor import http

PING_AFTER_SECONDS = 0.5
"""Silence after which the supervisor sends a ping, in seconds. Most invocations end earlier."""
HUNG_SECONDS = 3.0
"""Silence after a ping that makes a shipper count as hung, in seconds. On 7 % of a core an import
may take one second."""
EXIT_SECONDS = 0.5
"""Time between the end of the channel and the exit of the process, in seconds. A process that needs
longer is killed, because the supervisor cannot handle an event meanwhile."""
SIGKILL = 9


class ShipperProcess:
    """A shipper process and the channel to it."""

    def __init__(self, *, pid: int, channel: _socket.socket) -> None:
        self._pid = pid
        self._channel = channel
        self._pinged = False
        self._silent_seconds = 0.0

    @classmethod
    def start(
        cls,
        *,
        listener: _socket.socket,
        api: http.Connection,
        environment: str,
        restarts: int,
        path_token: str,
        account: str,
        quiet: bool,
        events: ipc.EventSources | None = None,
    ) -> "ShipperProcess":
        """Fork a child that runs `logferry.shipper.main` and never returns. Raise OSError.

        `quiet` suppresses the traceback of a failure that was printed before. `events` is None if the function's own
        events are not accepted.
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        pid = posix.fork()
        if pid == 0:
            ours.close()
            api.close()
            posix._exit(
                _become_shipper(
                    theirs,
                    listener,
                    environment,
                    restarts,
                    path_token=path_token,
                    account=account,
                    quiet=quiet,
                    events=events,
                )
            )
        theirs.close()
        return cls(pid=pid, channel=ours)

    def fileno(self) -> int:
        """Return the descriptor of the channel."""
        return self._channel.fileno()

    def send(self, packet: bytes) -> None:
        """Send a packet. The next `receive` shows a channel that is full or broken."""
        try:
            self._channel.send(packet, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            return

    def receive(self, seconds: float) -> bytes | None:
        """Return the next packet, an empty one at the shipper's end, or None after `seconds`."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        began = time.monotonic()
        if not poll.poll(max(0, seconds * 1000)):
            self.add_silence(time.monotonic() - began)
            return None
        packet = self._packet()
        self._pinged, self._silent_seconds = False, 0.0
        return packet

    def add_silence(self, seconds: float) -> None:
        """Record time spent waiting for a message; send a ping after `PING_AFTER_SECONDS`."""
        self._silent_seconds += seconds
        if not self._pinged and self._silent_seconds >= PING_AFTER_SECONDS:
            self.send(ipc.PING)
            self._pinged, self._silent_seconds = True, 0.0

    def _packet(self) -> bytes:
        """Return a packet that has arrived; an empty one at the end.

        If a shipper ends with unread packets, the kernel reports ECONNRESET once, before the last
        packets of the shipper. Without the second attempt an IDLE message was lost, and the
        supervisor restarted the shipper repeatedly (tests/e2e/test_configuration_errors.py, the missing
        destination).
        """
        for _ in range(2):
            try:
                return self._channel.recv(ipc.PACKET_BYTES)
            except OSError:
                continue
        return b""

    def seconds_until_check(self) -> float:
        """Return the seconds of waiting until `add_silence` or `hung` has another result."""
        return max(0.001, (HUNG_SECONDS if self._pinged else PING_AFTER_SECONDS) - self._silent_seconds)

    def hung(self) -> bool:
        """Return whether a ping has had no answer for `HUNG_SECONDS`."""
        return self._pinged and self._silent_seconds >= HUNG_SECONDS

    def kill(self) -> str:
        """Kill the process and return how it ended."""
        posix.kill(self._pid, SIGKILL)
        return self.reap()

    def reap(self) -> str:
        """Close the channel, collect the process and return how it ended.

        A process that has not exited after `EXIT_SECONDS` is killed.
        """
        self._channel.close()
        if not self._exits_in_time():
            posix.kill(self._pid, SIGKILL)
        _, status = posix.waitpid(self._pid, 0)
        code = posix.waitstatus_to_exitcode(status)
        return "signal %d" % -code if code < 0 else "exit code %d" % code

    def _exits_in_time(self) -> bool:
        try:
            fd = posix.pidfd_open(self._pid, 0)
        except (OSError, AttributeError):
            return True  # kernels and headers before 5.3: `waitpid` waits for the exit
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        try:
            return bool(poll.poll(EXIT_SECONDS * 1000))
        finally:
            posix.close(fd)


def _become_shipper(
    channel: _socket.socket,
    listener: _socket.socket,
    environment: str,
    restarts: int,
    *,
    path_token: str,
    account: str,
    quiet: bool,
    events: ipc.EventSources | None,
) -> int:
    """Run the shipper in the child and return its exit code. All expensive imports are here."""
    try:
        import gc  # noqa: PLC0415

        gc.disable()  # while modules are loaded; `shipper.main` enables it again
        from logferry.shipper.main import run_shipper  # noqa: PLC0415 - the parent must never import it

        return run_shipper(
            channel_fd=channel.detach(),
            listener_fd=listener.detach(),
            environment=environment,
            restarts=restarts,
            path_token=path_token,
            account=account,
            event_sources=events,
        )
    except BaseException:  # noqa: BLE001 - a failed child can only print a traceback and return an exit code
        if not quiet:
            import traceback  # noqa: PLC0415

            traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
