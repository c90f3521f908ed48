"""How long from exec to the first /event/next, measured inside a root by the interpreter under test.

Prints a JSON object of milliseconds, lower quartiles, as a neighbour's load can only add: `bare` (the interpreter
starting and ending with nothing to do), `layer` (the launcher), `checkout` (the same interpreter on a folder of
sources with cached bytecode). The three are taken in turns, so that a neighbour's load falls on all of them alike.
"""

import json
import os
import signal
import socket
import statistics
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND_S = 30.0
PYTHON, ROUNDS = sys.argv[1], int(sys.argv[2])
ISOLATED = [PYTHON, "-I", "-S", "-B", "-X", "utf8"]
COMMANDS = {
    "layer": ["/opt/extensions/logferry"],
    "checkout": [*ISOLATED, "/mnt/checkout/logferry/supervisor/boot.py", "/mnt/checkout:/opt/logferry/site"],
}


SILENT = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (1, 2)]
BODY = b'{"functionName":"f","functionVersion":"$LATEST","handler":"h"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 00000000-0000-4000-8000-000000000000\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class ExtensionsApi(threading.Thread):
    """Says yes to everything, and when /event/next came. By hand: http.server's own time would be measured."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked = threading.Event()
        self.asked_at = 0.0

    def run(self) -> None:
        """Serve one connection after the other; /event/next is never answered."""
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while request := connection.recv(65_536):
                    if b"/event/next" in request:
                        self.asked_at = time.perf_counter()
                        self.asked.set()
                        break
                    connection.sendall(ANSWER)


def until_next(api: ExtensionsApi, command: list[str], environment: dict[str, str]) -> float:
    """Start an extension, return the milliseconds to its first /event/next, and end it with all its descendants."""
    api.asked.clear()
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, setsid=True, file_actions=SILENT)
    in_time = api.asked.wait(BOUND_S)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not in_time:
        raise SystemExit(f"{command[0]} did not ask for /event/next within {BOUND_S} s")
    return (api.asked_at - started) * 1000


def bare() -> float:
    """Start the interpreter with nothing to do, and return the milliseconds to its end."""
    started = time.perf_counter()
    os.waitpid(os.posix_spawn(PYTHON, [PYTHON, "-I", "-S", "-c", "pass"], {}), 0)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure in turns and print what was found."""
    api = ExtensionsApi()
    api.start()
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.listener.getsockname()[1]}",
        "AWS_REGION": "us-east-1",
        "LOGFERRY_DESTINATION": "file:///tmp/out",
        "LOGFERRY_SPOOL_DIR": "/tmp/spool",  # noqa: S108 - the root's own
    }
    measures: dict[str, Callable[[], float]] = {"bare": bare}
    for name, words in COMMANDS.items():
        measures[name] = partial(until_next, api, words, environment)
    names = list(measures)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(ROUNDS * len(names)):
        if turn % len(names) == 0:
            names = [*names[1:], names[0]]  # who comes first in a round has been seen to pay 2 ms for it
        name = names[turn % len(names)]
        taken[name].append(measures[name]())
    print(json.dumps({name: statistics.quantiles(values)[0] for name, values in taken.items()}))
    sys.stdout.flush()
    os._exit(0)


main()
