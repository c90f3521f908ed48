"""An HTTPS server on loopback for functions that make calls. The path decides its response.

| path | response |
|---|---|
| `/status/N…` | status N and the body `response` |
| `/redirect…` | 302 to `/status/200` |
| `/slow…` | 200 after `DELAY_SECONDS` |
| `/hang…` | none until the client closes the connection |
| `/abort…` | the connection is closed without a response |
| `/flaky/NAME…` | 503 for the first request of a name, and 200 afterwards |
| any other | 200 |

CONNECT opens a tunnel that ends at the server itself.

Every response has the headers `Set-Cookie`, `x-api-key` (`COOKIE`, `KEY`) and `x-amzn-requestid` (`REQUEST_ID`).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

from support.tls_server import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b"response"
DELAY_SECONDS = 0.05
HANG_SECONDS = 20.0
REQUEST_ID = "7c1e5f0d-public"
COOKIE, KEY = "session=cookie-of-the-server", "key-of-the-server"
LIMIT_SECONDS = 30.0


class CallsServer:
    """The running server: its address, its certificate, and the requests that it has received."""

    def __init__(self, port: int, certificate: str, requests: list[str]) -> None:
        self.host = "localhost"
        self.port = port
        self.certificate = certificate
        self.requests = requests

    @property
    def url(self) -> str:
        """Return the URL without a path."""
        return f"https://{self.host}:{self.port}"

    @property
    def trust(self) -> dict[str, str]:
        """Return the variables with which the clients trust this server."""
        return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), self.certificate)


@contextlib.contextmanager
def calls_server(folder: Path, *, tls: bool = True) -> Iterator[CallsServer]:
    """Serve on loopback until the block ends."""
    requests: list[str] = []
    flaky: set[str] = set()

    class Handler(_Handler):
        log = requests
        answered_once = flaky

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    certificate = ""
    if tls:
        certificate, key = make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield CallsServer(server.server_port, certificate, requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    log: ClassVar[list[str]]
    answered_once: ClassVar[set[str]]
    protocol_version = "HTTP/1.1"
    timeout = LIMIT_SECONDS
    wbufsize = 65536  # head and body in one packet
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Ignore errors of clients that leave, which are part of the tests."""
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        """Respond as the path requires."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.log.append(f"{self.command} {self.path}")
        first, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if first == "hang":
            self.connection.settimeout(HANG_SECONDS)
            self.connection.recv(1)
        if first in ("hang", "abort"):
            self.close_connection = True
            return
        if first == "slow":
            time.sleep(DELAY_SECONDS)
        status = {"status": int(rest.partition("/")[0] or 200) if first == "status" else 200, "redirect": 302}
        self._respond(self._flaky(rest) if first == "flaky" else status.get(first, 200))

    do_POST = do_GET  # noqa: N815 - the name that http.server requires

    def do_CONNECT(self) -> None:
        """Accept a tunnel that ends here."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = False

    def _flaky(self, name: str) -> int:
        if name in self.answered_once:
            return 200
        self.answered_once.add(name)
        return 503

    def _respond(self, status: int) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/status/200")
        for name, value in (("Set-Cookie", COOKIE), ("x-api-key", KEY), ("x-amzn-requestid", REQUEST_ID)):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""
