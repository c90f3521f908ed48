"""S3's side of the wire, for timing: a process that takes any PUT over TLS and answers after a fixed service time.

It is started by `s3.S3`, prints its port, then one line per object, `stored <bytes> <records>`, and takes
orders on stdin: `delay <ms>`, `keep <folder>` (bodies are kept there from then on) and `close`, after which every
connection is closed as S3 does while a function is frozen, and `closed` is printed. A thread per connection that sleeps
is exact to a tenth of a millisecond; an event loop's timers are not.

No signature is looked at: the real S3 server of the test suite does that. `records` is the object's own metadata.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from benchmark.http_wire import Head, Stream, answer, unchunked


class Store:
    """What is common to all connections."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.keep: Path | None = None
        self.numbers = itertools.count()
        self.connections: set[ssl.SSLSocket] = set()
        self._writing = threading.Lock()

    def say(self, line: str) -> None:
        """One line to the process that measures."""
        with self._writing:
            print(line, flush=True)

    def close_all(self) -> None:
        """Close every connection; the peers see an end of file, as after a long freeze."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.say("closed")


def serve(connection: socket.socket, context: ssl.SSLContext, store: Store) -> None:
    """One connection to its end."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = context.wrap_socket(connection, server_side=True)
    except OSError:
        connection.close()
        return
    store.connections.add(secure)
    stream = Stream(secure)
    with secure, contextlib.suppress(OSError):
        while head := stream.head():
            if head.headers.get(b"expect", b"").lower() == b"100-continue":
                secure.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = stream.body(head)
            if store.keep and head.first.startswith(b"PUT "):
                # Before the answer, as S3 does: after it the client may end, and its objects are counted.
                keep(head, body, store.keep / f"{next(store.numbers):06d}.ndjson.gz")
            time.sleep(store.delay_s)
            secure.sendall(answer("200 OK", b"", b'ETag: "0"', b"x-amz-request-id: 0"))
            if head.first.startswith(b"PUT "):
                records = head.headers.get(b"x-amz-meta-records", b"0").decode()
                store.say(f"stored {len(body)} {records}")
    store.connections.discard(secure)


def keep(head: Head, body: bytes, file: Path) -> None:
    """Keep an object's content, without the framing that a client may have put around it."""
    file.write_bytes(unchunked(body) if b"aws-chunked" in head.headers.get(b"content-encoding", b"") else body)


def obey(store: Store) -> None:
    """Take orders until stdin ends."""
    for line in sys.stdin:
        order, _, value = line.strip().partition(" ")
        if order == "delay":
            store.delay_s = float(value) / 1000
        elif order == "keep":
            store.keep = Path(value) if value else None
        elif order == "close":
            store.close_all()


def main() -> None:
    """Serve until stdin ends. Arguments: certificate, key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    store = Store()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    store.say(str(listener.getsockname()[1]))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context, store), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    obey(store)


if __name__ == "__main__":
    main()
