"""The last gate: the tree's own interpreter starts on its own libraries, and the sink stores objects with it.

"It imports" is not enough, and "the client was made" is not either: botocore reads parts of its data at the first
call only, and some only when S3 answers so. What the builder has cut must not be missed then, so a stand-in of S3 on
loopback plays all of it: an upload, a bucket in another region (HeadBucket), a directory bucket (CreateSession), a
refusal in XML, credentials of the container endpoint, a proxy.

The program runs through the tree's loader, named explicitly, since the tree does not stand at `/opt` on the machine
that builds it.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from logferry.layer.architecture import Architecture
from logferry.layer.gates import GateError
from logferry.layer.tools import LayerError, run

JOB = Path(__file__).with_name("rehearsal_job.py")
"""Not imported, as it runs at once, and elsewhere."""

EXPECTED = ("plain", "moved", "session--euc1-az1--x-s3", "proxied")
"""The buckets where objects must arrive, in this order. The last one's host exists for the proxy alone."""

_OTHER_REGION = "eu-west-1"
"""Of the bucket that has moved; the program is in another."""
_KEY = {"AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2099-01-01T00:00:00Z"}
_ERROR = "<Error><Code>{}</Code><Message>played</Message></Error>"
_SESSION = "<Answer><Credentials>{}<SessionToken>session</SessionToken></Credentials></Answer>"


def command(home: Path, *, python: str, arch: Architecture) -> list[str]:
    """Return the start of a command line that runs a tree's interpreter where the tree does not stand at its place."""
    lib, executable = home / "lib", home / f"bin/python{python}"
    loader = [str(lib / arch.loader), "--inhibit-cache", "--library-path", str(lib), "--argv0", str(executable)]
    return [*loader, str(executable)]


def rehearse(home: Path, *, python: str, arch: Architecture) -> None:
    """Store an object in every way with the tree's interpreter; GateError with its traceback when that fails."""
    with _S3() as s3:
        thread = threading.Thread(target=s3.serve_forever, daemon=True)
        thread.start()
        try:
            program = [str(JOB), str(home / "site"), f"http://127.0.0.1:{s3.server_address[1]}"]
            interpreter = command(home, python=python, arch=arch)
            arguments = ["-I", "-S", "-B", "-X", "utf8", *program]
            run([*interpreter, *arguments], purpose="storing an object with the tree's interpreter", environment={})
        except LayerError as error:
            raise GateError(f"the tree does not work: {error}") from error
        finally:
            s3.shutdown()
            thread.join()
    if tuple(s3.stored) != EXPECTED:
        raise GateError(f"the tree's interpreter ended well but stored in {s3.stored}, not in {list(EXPECTED)}")


class _S3(ThreadingHTTPServer):
    """The stand-in, and where it has been given the cargo."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Player)
        self.stored: list[str] = []


class _Player(BaseHTTPRequestHandler):
    """Plays S3, the container endpoint and a proxy."""

    protocol_version = "HTTP/1.1"
    server: _S3

    def do_PUT(self) -> None:
        """PutObject, which each bucket answers in its own way."""
        body, bucket = self.rfile.read(int(self.headers["Content-Length"])), self._bucket()
        if bucket == "refused":
            return self._answer(403, _ERROR.format("AccessDenied"))
        if bucket == "moved" and f"/{_OTHER_REGION}/" not in self.headers["Authorization"]:
            return self._answer(301, _ERROR.format("PermanentRedirect"))
        if bucket.endswith("--x-s3") and self.headers["x-amz-s3session-token"] != "session":
            return self._answer(403, _ERROR.format("AccessDenied"))
        if b"cargo" in body:
            self.server.stored.append(bucket)
        return self._answer(200, ETag='"etag"')

    def do_HEAD(self) -> None:
        """HeadBucket: the only way here to learn a bucket's region, as the redirection does not say it."""
        self._answer(200, **{"x-amz-bucket-region": _OTHER_REGION})

    def do_GET(self) -> None:
        """The container endpoint, and CreateSession."""
        if self.path == "/credentials" and self.headers["Authorization"] == "token":
            return self._answer(200, json.dumps({**_KEY, "Token": "t"}))
        if urlsplit(self.path).query == "session":
            return self._answer(200, _SESSION.format("".join(f"<{k}>{v}</{k}>" for k, v in _KEY.items())))
        return self._answer(404)

    def _bucket(self) -> str:
        """Return the bucket of a request, in whose path it stands; a proxy is sent whole URLs."""
        return urlsplit(self.path).path.split("/")[1]

    def _answer(self, status: int, body: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing: the builder's output is for the builder."""
