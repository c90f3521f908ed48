"""A server that functions call, for measurements: a process that accepts any request after a fixed time.

It prints its port and serves until stdin ends. Design: a thread per connection that sleeps is exact to 0.1 ms, as in
`s3_stub`. HTTP without TLS makes a call short, so that the cost of a hook has the largest share.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

from benchmark.http_messages import Stream, response

BODY = b'{"id":"4711","state":"shipped"}'


def serve(connection: socket.socket, delay_seconds: float) -> None:
    """Serve one connection until its end."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = Stream(connection)
    answer = response("200 OK", BODY, b"Content-Type: application/json", b'ETag: "0"')
    with connection, contextlib.suppress(OSError):
        while head := stream.head():
            stream.body(head)
            if delay_seconds:
                time.sleep(delay_seconds)
            connection.sendall(answer)


def main() -> None:
    """Serve until stdin ends. Argument: milliseconds until the response."""
    delay_seconds = float(sys.argv[1]) / 1000
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, delay_seconds), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
