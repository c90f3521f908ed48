"""A small process at the other end of the supervisor's channel; its behaviour is a word.

Guarantees:
- Each received packet is appended to a file before the process reacts to it.
- `end_all` kills and collects every process that a test has started.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from logferry.supervisor.shipper_process import ShipperProcess

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, signal, socket, sys, time
channel, behaviour, record, index = socket.socket(fileno=int(sys.argv[1])), *sys.argv[2:]
if behaviour == "invalid settings":
    channel.send(b"IDESTINATION is not set")
    os._exit(0)
if behaviour == "long mistakes":
    channel.send("Iis 'aü".encode()[:-1])
    os._exit(0)
if behaviour == "exits at once":
    os._exit(3)
if behaviour == "uploads and exits":
    channel.send(b"W")
    os._exit(0)
if behaviour == "hangs":
    signal.pause()
if behaviour == "closes the channel and hangs":
    channel.close()
    signal.pause()
if behaviour == "ready":
    channel.send(b"R")
events = 0
while packet := channel.recv(65536):
    with open(record, "ab") as file:
        file.write(index.encode() + b" " + packet.hex().encode() + b"\\n")
    if packet == b"?":
        channel.send(b"!")
    elif behaviour == "exits on an event" or (behaviour == "exits on its second event" and events):
        os._exit(3)
    elif behaviour == "hangs on an event":
        signal.pause()
    elif behaviour == "never done":
        pass
    else:
        time.sleep({"slow": 0.3, "very slow": 2.0}.get(behaviour, 0.0))
        events += 1
        channel.send(b"D" + packet[1:].partition(b"\\n")[0])
"""


class Start(NamedTuple):
    """Arguments and time of one start."""

    restarts: int
    quiet: bool
    path_token: str
    at: float


class ScriptedShippers:
    """Replacement for `ShipperProcess.start` that starts one scripted process after the other."""

    def __init__(self, record: Path, *behaviours: str) -> None:
        """Use the behaviours in this order; the last one repeats. `no process` makes the start fail."""
        self._record = record
        self._behaviours = list(behaviours)
        self._pids: list[int] = []
        self.starts: list[Start] = []

    def start(self, *, restarts: int, quiet: bool, path_token: str, **_: object) -> ShipperProcess:
        """Start the next process, as `ShipperProcess.start` does. Raise OSError if the test demands it."""
        index = len(self.starts)
        self.starts.append(Start(restarts, quiet, path_token, time.monotonic()))
        behaviour = self._behaviours[min(index, len(self._behaviours) - 1)]
        if behaviour == "no process":
            raise BlockingIOError(11, "Resource temporarily unavailable")
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        words = ["-I", "-S", "-c", SCRIPT, str(theirs.fileno()), behaviour, str(self._record), str(index)]
        self._pids.append(os.posix_spawn(sys.executable, [sys.executable, *words], {}))
        theirs.close()
        return ShipperProcess(pid=self._pids[-1], channel=ours)

    def received(self, index: int) -> list[bytes]:
        """Return the packets that process number `index` has received, without pings."""
        lines = [line.split() for line in self._record.read_text().splitlines()] if self._record.exists() else []
        packets = [bytes.fromhex(packet) for number, packet in lines if int(number) == index]
        return [packet for packet in packets if packet != b"?"]

    def events(self, index: int) -> list[tuple[bytes, str]]:
        """Return kind, number and event type of each event that process number `index` has received."""
        found = []
        for packet in self.received(index):
            head, _, document = packet.partition(b"\n")
            found.append((head, json.loads(document)["eventType"]))
        return found

    def end_all(self) -> None:
        """Kill and collect every process that is left."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
