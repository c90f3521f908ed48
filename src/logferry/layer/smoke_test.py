"""Smoke test of a built tree: its interpreter starts with its libraries, and the sink stores objects.

Guarantees:
- A tree passes only if an object arrived in each bucket of `EXPECTED`, in this order.
- The program runs through the loader of the tree, because the tree is not at `/opt` on the machine
  that builds it.

Design: an import or a created client is not sufficient. botocore reads some of its data at the
first request, and some only after certain responses of S3. A stub on loopback therefore plays all
cases: an upload, a bucket in another region (HeadBucket), a directory bucket (CreateSession), an
error in XML, credentials of the container endpoint, a proxy.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from logferry.layer.architecture import Architecture
from logferry.layer.checks import CheckError
from logferry.layer.subprocesses import LayerError, run

PROGRAM = Path(__file__).with_name("smoke_test_program.py")
"""Program of the test. It is not imported, because it runs at once and in another interpreter."""

EXPECTED = ("plain", "moved", "session--euc1-az1--x-s3", "proxied")
"""Buckets in which an object must arrive, in this order. Only the proxy reaches the host of the last
one."""

_OTHER_REGION = "eu-west-1"
"""Region of the bucket `moved`. The program is configured for another region."""
_KEY = {"AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2099-01-01T00:00:00Z"}
_ERROR = "<Error><Code>{}</Code><Message>stub</Message></Error>"
_SESSION = "<Answer><Credentials>{}<SessionToken>session</SessionToken></Credentials></Answer>"


def command(home: Path, *, python: str, arch: Architecture) -> list[str]:
    """Return the first words of a command that runs the interpreter of a tree at any place."""
    lib, executable = home / "lib", home / f"bin/python{python}"
    loader = [str(lib / arch.loader), "--inhibit-cache", "--library-path", str(lib), "--argv0", str(executable)]
    return [*loader, str(executable)]


def run_smoke_test(home: Path, *, python: str, arch: Architecture) -> None:
    """Store objects with the tree's interpreter. Raises CheckError with its traceback if that fails."""
    with S3Stub() as s3:
        thread = threading.Thread(target=s3.serve_forever, daemon=True)
        thread.start()
        try:
            program = [str(PROGRAM), str(home / "site"), f"http://127.0.0.1:{s3.server_address[1]}"]
            interpreter = command(home, python=python, arch=arch)
            arguments = ["-I", "-S", "-B", "-X", "utf8", *program]
            run([*interpreter, *arguments], purpose="storing an object with the tree's interpreter", environment={})
        except LayerError as error:
            raise CheckError(f"the tree does not work: {error}") from error
        finally:
            s3.shutdown()
            thread.join()
    if tuple(s3.stored) != EXPECTED:
        raise CheckError(f"the smoke test ended without an error, but stored in {s3.stored} and not in {EXPECTED}")


class S3Stub(ThreadingHTTPServer):
    """A server on loopback that plays S3, and the list of buckets in which it has received the object."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stored: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    """Responses of S3, of the container endpoint and of a proxy."""

    protocol_version = "HTTP/1.1"
    server: S3Stub

    def do_PUT(self) -> None:
        """Respond to PutObject as the bucket requires."""
        body, bucket = self.rfile.read(int(self.headers["Content-Length"])), self._bucket()
        if bucket == "denied":
            return self._respond(403, _ERROR.format("AccessDenied"))
        if bucket == "moved" and f"/{_OTHER_REGION}/" not in self.headers["Authorization"]:
            return self._respond(301, _ERROR.format("PermanentRedirect"))
        if bucket.endswith("--x-s3") and self.headers["x-amz-s3session-token"] != "session":
            return self._respond(403, _ERROR.format("AccessDenied"))
        if b"content" in body:
            self.server.stored.append(bucket)
        return self._respond(200, ETag='"etag"')

    def do_HEAD(self) -> None:
        """Respond to HeadBucket, the only source of a bucket's region here: the redirect does not contain it."""
        self._respond(200, **{"x-amz-bucket-region": _OTHER_REGION})

    def do_GET(self) -> None:
        """Respond as the container endpoint, or to CreateSession."""
        if self.path == "/credentials" and self.headers["Authorization"] == "token":
            return self._respond(200, json.dumps({**_KEY, "Token": "t"}))
        if urlsplit(self.path).query == "session":
            return self._respond(200, _SESSION.format("".join(f"<{k}>{v}</{k}>" for k, v in _KEY.items())))
        return self._respond(404)

    def _bucket(self) -> str:
        """Return the bucket, the first part of the path. A proxy receives complete URLs."""
        return urlsplit(self.path).path.split("/")[1]

    def _respond(self, status: int, body: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Write no log, because the output of the builder is for its user."""
