"""The last gate: the tree's own interpreter starts on its own libraries and stores an object.

"It imports" is not enough, and "the client was made" is not either: botocore reads parts of its data at the first
call only. So one PutObject goes to a server on loopback, with every import of the shipper before it. It runs through
the tree's loader, named explicitly, since the tree does not stand at `/opt` on the machine that builds it.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from logferry.layer.architecture import Architecture
from logferry.layer.gates import GateError
from logferry.layer.tools import LayerError, run

_JOB = """
import sys
sys.path.append(sys.argv[1])
import asyncio, ssl, aiohttp.web, aioboto3, structlog

async def job():
    session = aioboto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-central-1")
    async with session.client("s3", endpoint_url=sys.argv[2]) as s3:
        await s3.put_object(Bucket="rehearsal", Key="object", Body=b"cargo", Metadata={"records": "1"})

asyncio.run(job())
print("stored")
"""


def command(home: Path, *, python: str, arch: Architecture) -> list[str]:
    """Return the start of a command line that runs a tree's interpreter where the tree does not stand at its place."""
    lib, executable = home / "lib", home / f"bin/python{python}"
    loader = [str(lib / arch.loader), "--inhibit-cache", "--library-path", str(lib), "--argv0", str(executable)]
    return [*loader, str(executable)]


def rehearse(home: Path, *, python: str, arch: Architecture) -> None:
    """Store one object with the tree's interpreter; GateError with its traceback when that fails."""
    stored: list[bytes] = []

    class Bucket(BaseHTTPRequestHandler):
        """Accepts every PUT."""

        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            stored.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the builder's output is for the builder."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            interpreter = command(home, python=python, arch=arch)
            endpoint = f"http://127.0.0.1:{server.server_address[1]}"
            arguments = ["-I", "-S", "-B", "-X", "utf8", "-c", _JOB, str(home / "site"), endpoint]
            run([*interpreter, *arguments], purpose="storing an object with the tree's interpreter", environment={})
        except LayerError as error:
            raise GateError(f"the tree does not work: {error}") from error
        finally:
            server.shutdown()
            thread.join()
    if len(stored) != 1 or b"cargo" not in stored[0]:
        raise GateError(f"the tree's interpreter ended well but stored {len(stored)} objects instead of one")
