"""Server on loopback for the smoke test: a stub of S3, of the container endpoint and of a proxy.

The name of a bucket decides the response:

- `denied`: 403 with an error in XML.
- `…-redirected`: 301 with the bucket's region, as S3 sends it.
- `…-moved`: 301 without the region, so that botocore requests it (HeadBucket).
- `…--x-s3`: a directory bucket, which requires a session (CreateSession).
- Any other name: 200.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

OTHER_REGION = "eu-west-1"
"""Region of the buckets that redirect. The program is configured for another region."""
_REGION_HEADER = "x-amz-bucket-region"
_KEY = {"AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2099-01-01T00:00:00Z"}
_ERROR = "<Error><Code>{}</Code><Message>stub</Message></Error>"
_SESSION = "<Answer><Credentials>{}<SessionToken>session</SessionToken></Credentials></Answer>"


class S3Stub(ThreadingHTTPServer):
    """The server, and the list of buckets in which it has stored an object."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stored: list[str] = []

    @property
    def url(self) -> str:
        """Endpoint URL."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve requests in a thread until the context ends."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with server:
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(BaseHTTPRequestHandler):
    """A handler of HTTP/1.1 requests without a log: the output of the builder is for its user."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        """Read the body of the request."""
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def respond(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""


class _Handler(QuietHandler):
    server: S3Stub

    def do_PUT(self) -> None:
        """Respond to PutObject as the name of the bucket requires."""
        self.body()
        bucket = self._bucket()
        is_signed_for_other_region = f"/{OTHER_REGION}/" in self.headers["Authorization"]
        # 1. The request is rejected.
        if bucket == "denied":
            return self.respond(403, _ERROR.format("AccessDenied"))
        # 2. The bucket is in another region.
        if bucket.endswith(("-redirected", "-moved")) and not is_signed_for_other_region:
            headers = {_REGION_HEADER: OTHER_REGION} if bucket.endswith("-redirected") else {}
            return self.respond(301, _ERROR.format("PermanentRedirect"), headers)
        # 3. The bucket requires a session.
        if bucket.endswith("--x-s3") and self.headers["x-amz-s3session-token"] != "session":
            return self.respond(403, _ERROR.format("AccessDenied"))
        self.server.stored.append(bucket)
        return self.respond(200, headers={"ETag": '"etag"'})

    def do_HEAD(self) -> None:
        """Respond to HeadBucket with the region."""
        self.respond(200, headers={_REGION_HEADER: OTHER_REGION})

    def do_GET(self) -> None:
        """Respond as the container endpoint, or to CreateSession."""
        if self.path == "/credentials" and self.headers["Authorization"] == "token":
            return self.respond(200, json.dumps({**_KEY, "Token": "t"}))
        if urlsplit(self.path).query == "session":
            return self.respond(200, _SESSION.format("".join(f"<{k}>{v}</{k}>" for k, v in _KEY.items())))
        return self.respond(404)

    def _bucket(self) -> str:
        """Return the bucket, the first part of the path. A proxy receives complete URLs."""
        return urlsplit(self.path).path.split("/")[1]
