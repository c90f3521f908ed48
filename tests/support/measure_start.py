"""Program that measures the time from exec to the first /event/next, inside a root, with the interpreter under test.

It prints a JSON object of milliseconds: `bare` (the interpreter without a program), `layer` (the
launcher) and `checkout` (the same interpreter with sources and cached bytecode). The values are
lower quartiles, because other load only adds time. The three commands run in turns, so that other
load affects all of them.
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


NO_OUTPUT = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (1, 2)]
BODY = b'{"functionName":"f","functionVersion":"$LATEST","handler":"h"}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 00000000-0000-4000-8000-000000000000\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class ExtensionsApi(threading.Thread):
    """A server that accepts each request and records the time of /event/next.

    It does not use http.server, whose time would be part of the result.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.requested = threading.Event()
        self.requested_at = 0.0

    def run(self) -> None:
        """Serve one connection after the other. A request for /event/next gets no response."""
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while request := connection.recv(65_536):
                    if b"/event/next" in request:
                        self.requested_at = time.perf_counter()
                        self.requested.set()
                        break
                    connection.sendall(RESPONSE)


def until_next(api: ExtensionsApi, command: list[str], environment: dict[str, str]) -> float:
    """Start an extension, return the milliseconds to its first /event/next, and kill its process group."""
    api.requested.clear()
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, setsid=True, file_actions=NO_OUTPUT)
    in_time = api.requested.wait(BOUND_S)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not in_time:
        raise SystemExit(f"{command[0]} did not request /event/next within {BOUND_S} s")
    return (api.requested_at - started) * 1000


def bare() -> float:
    """Start the interpreter without a program, and return the milliseconds to its end."""
    started = time.perf_counter()
    os.waitpid(os.posix_spawn(PYTHON, [PYTHON, "-I", "-S", "-c", "pass"], {}), 0)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure in turns and print the quartiles."""
    api = ExtensionsApi()
    api.start()
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.listener.getsockname()[1]}",
        "AWS_REGION": "us-east-1",
        "LOGFERRY_DESTINATION": "file:///tmp/out",
        "LOGFERRY_SPOOL_DIR": "/tmp/spool",  # noqa: S108 - inside the root
    }
    measures: dict[str, Callable[[], float]] = {"bare": bare}
    for name, words in COMMANDS.items():
        measures[name] = partial(until_next, api, words, environment)
    names = list(measures)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(ROUNDS * len(names)):
        if turn % len(names) == 0:
            names = [*names[1:], names[0]]  # the first command of a round took 2 ms more
        name = names[turn % len(names)]
        taken[name].append(measures[name]())
    print(json.dumps({name: statistics.quantiles(values)[0] for name, values in taken.items()}))
    sys.stdout.flush()
    os._exit(0)


main()
