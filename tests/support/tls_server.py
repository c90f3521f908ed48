"""A TLS server on loopback, with a certificate for any name, that accepts every request as S3 does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

from support.s3_stub import OK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_certificate(folder: Path, *, name: str = "localhost") -> tuple[str, str]:
    """Make a self-signed certificate; return the paths of certificate and key."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem")
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    files = ["-keyout", key, "-out", certificate, "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*openssl, *files], check=True, capture_output=True, timeout=30)
    return certificate, key


@contextlib.contextmanager
def tls_server(folder: Path, *, name: str = "localhost") -> Iterator[tuple[dict[str, str], str, list[bytes]]]:
    """Serve on loopback over TLS; yield the environment, the certificate, and the start of each request."""
    certificate, key = make_certificate(folder, name=name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(OK)
                    connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://localhost:{server.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        yield {"AWS_ENDPOINT_URL_S3": url} | keys, certificate, asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
