"""Program for a new network namespace: it sends over an interface named as on Lambda, and prints the sampled traffic.

It starts a second namespace, connects both by a pair of interfaces, and runs a server in the second one. The server
receives 10 MiB and sends 3 MiB. Another 20 MiB pass loopback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from logferry.instrumentation.usage_sampler import UsageSampler

MEBIBYTE = 1024 * 1024
SENT, RECEIVED, OVER_LOOPBACK = 10 * MEBIBYTE, 3 * MEBIBYTE, 20 * MEBIBYTE
OURS, THEIRS, PORT = "10.9.8.1", "10.9.8.2", 9900
TIMEOUT_SECONDS = 20.0


def ip(*arguments: str, namespace_of: int | None = None) -> None:
    """Run `ip`, in the namespace of a process if one is given."""
    prefix = ["nsenter", "--target", str(namespace_of), "--net"] if namespace_of else []
    subprocess.run([*prefix, "ip", *arguments], check=True, timeout=TIMEOUT_SECONDS)


def receive(connection: socket.socket, size: int) -> None:
    """Receive an exact number of bytes."""
    while size:
        size -= len(connection.recv(min(size, MEBIBYTE)))


def serve(address: str, *, receives: int, sends: int, ready: threading.Event | None = None) -> None:
    """Accept one connection, receive and send."""
    with socket.create_server((address, PORT)) as server:
        server.settimeout(TIMEOUT_SECONDS)
        if ready:
            ready.set()
        else:
            print("ready", flush=True)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT_SECONDS)
            receive(connection, receives)
            connection.sendall(bytes(sends))


def exchange(address: str, *, sends: int, receives: int) -> None:
    """Connect, send and receive."""
    with socket.create_connection((address, PORT), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(bytes(sends))
        receive(connection, receives)


def main() -> None:
    """Set up both namespaces, and sample before and after the traffic."""
    command = ["unshare", "--net", sys.executable, __file__, "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdout.readline()  # the namespace exists
        ip("link", "set", "lo", "up")
        ip("link", "add", "vint_runtime", "type", "veth", "peer", "name", "eth0", "netns", str(peer.pid))
        ip("addr", "add", f"{OURS}/24", "dev", "vint_runtime")
        ip("link", "set", "vint_runtime", "up")
        ip("addr", "add", f"{THEIRS}/24", "dev", "eth0", namespace_of=peer.pid)
        ip("link", "set", "eth0", "up", namespace_of=peer.pid)
        peer.stdin.write(b"go\n")
        peer.stdin.flush()
        peer.stdout.readline()  # the server listens
        sampler = UsageSampler(tmp="/", supervisor_pid=os.getpid())
        before = sampler.sample()
        exchange(THEIRS, sends=SENT, receives=RECEIVED)
        ready = threading.Event()
        local = threading.Thread(
            target=serve, args=("127.0.0.1",), kwargs={"receives": OVER_LOOPBACK, "sends": 1, "ready": ready}
        )
        local.start()
        ready.wait(TIMEOUT_SECONDS)
        exchange("127.0.0.1", sends=OVER_LOOPBACK, receives=1)
        local.join()
        after = sampler.sample()
        peer.stdin.close()  # the interface disappears with the other namespace
    assert before.counters
    assert after.counters
    received, sent = (
        (now or 0) - (then or 0) for then, now in list(zip(before.counters, after.counters, strict=True))[2:]
    )
    print(sent, received)


if sys.argv[1:] == ["wait"]:
    print("waiting", flush=True)
    sys.stdin.readline()
    serve(THEIRS, receives=SENT, sends=RECEIVED)
    sys.stdin.read()
else:
    main()
