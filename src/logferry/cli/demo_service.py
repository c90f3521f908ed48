"""A small HTTP service on loopback, which the function of the demo calls.

GET /orders/7     200
GET /status/404   404
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = re.compile(r"/status/(\d{3})")
_BODY = b'{"state": "shipped"}'


@contextmanager
def local_service() -> Iterator[str]:
    """Run the service in a thread, and provide its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="demo service")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Respond with the status in the path, or with 200."""
        found = _STATUS.match(self.path)
        self.send_response(int(found[1]) if found else 200)
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_arguments: object) -> None:
        """Write no log."""
