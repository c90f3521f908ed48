"""A DNS server with one name.

References: RFC 1035, sections 4.1 (format) and 3.4.1 (A record).
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

ADDRESS = "127.0.0.99"
"""A separate loopback address: a resolver uses port 53 only, and 127.0.0.1:53 may be in use."""

_TYPE_A = b"\x00\x01"
_RESPONSE_HEADER = b"\x81\x80\x00\x01%b\x00\x00\x00\x00"
_RECORD = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + socket.inet_aton("127.0.0.1")


@contextlib.contextmanager
def one_name_server(name: str) -> Iterator[tuple[str, list[bytes]]]:
    """Respond to queries for an A record of `name` with 127.0.0.1; give the server's address and the queries."""
    question = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
    queries: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((ADDRESS, 53))
        except OSError as error:
            pytest.skip(f"port 53 of {ADDRESS} is not available: {error}")

        def serve() -> None:
            while True:
                packet, sender = server.recvfrom(512)
                if not packet:
                    return
                end = packet.index(b"\0", 12) + 5
                queries.append(packet[12:end])
                is_ours = packet[12:end].lower().startswith(question + _TYPE_A)
                header = packet[:2] + _RESPONSE_HEADER % (b"\x00\x01" if is_ours else b"\x00\x00")
                server.sendto(header + packet[12:end] + (_RECORD if is_ours else b""), sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield ADDRESS, queries
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"", (ADDRESS, 53))
            thread.join(timeout=5.0)
