"""S3 as seen by a client, for measurements: a process that accepts any PUT over TLS after a fixed service time.

`s3.S3` starts it. It prints its port, then one line per object, `stored <bytes> <records>`. It
reads commands on stdin: `delay <ms>`, `keep <folder>` (bodies are kept there from then on) and
`close`. After `close` every connection is closed, as S3 does while a function is frozen, and
`closed` is printed.

Design: a thread per connection that sleeps is exact to 0.1 ms, and the timers of an event loop are
not. Signatures are not verified, because the real S3 server of the test suite does that. `records`
is the metadata of the object.
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

from benchmark.http_messages import Head, Stream, response, unchunked


class Store:
    """State that all connections share."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.keep: Path | None = None
        self.numbers = itertools.count()
        self.connections: set[ssl.SSLSocket] = set()
        self._writing = threading.Lock()

    def report(self, line: str) -> None:
        """Print one line for the measuring process."""
        with self._writing:
            print(line, flush=True)

    def close_all(self) -> None:
        """Close every connection; the clients get an end of file, as after a long freeze."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.report("closed")


def serve(connection: socket.socket, context: ssl.SSLContext, store: Store) -> None:
    """Serve one connection until its end."""
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
                # Before the response, as S3 does: after it the client may exit, and its objects are counted.
                keep(head, body, store.keep / f"{next(store.numbers):06d}.ndjson.gz")
            time.sleep(store.delay_s)
            secure.sendall(response("200 OK", b"", b'ETag: "0"', b"x-amz-request-id: 0"))
            if head.first.startswith(b"PUT "):
                records = head.headers.get(b"x-amz-meta-records", b"0").decode()
                store.report(f"stored {len(body)} {records}")
    store.connections.discard(secure)


def keep(head: Head, body: bytes, file: Path) -> None:
    """Keep the content of an object, without the framing of the client."""
    file.write_bytes(unchunked(body) if b"aws-chunked" in head.headers.get(b"content-encoding", b"") else body)


def read_orders(store: Store) -> None:
    """Execute commands until stdin ends."""
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
    store.report(str(listener.getsockname()[1]))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context, store), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    read_orders(store)


if __name__ == "__main__":
    main()
