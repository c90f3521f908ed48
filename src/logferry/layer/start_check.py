"""Check of a built tree: the extension starts, stores a record, and loads no module of the AWS SDK.

Guarantees:
- The extension of the tree runs from registration to SHUTDOWN with one invocation, next to a stub
  of Lambda's APIs and of S3. The record of the invocation is stored.
- A tree fails if the extension loads a module of `UNUSED` for a plain bucket.

Design: loading the SDK takes 270 to 330 ms of CPU time, at 128 MB more than the default timeout of
a function. One import in a wrong place would undo the own S3 client without any other symptom. The
option `-X importtime` lists each imported module of both processes on stderr.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from logferry.layer.architecture import Architecture
from logferry.layer.checks import CheckError
from logferry.layer.s3_stub import QuietHandler, S3Stub, serving
from logferry.layer.smoke_test import ISOLATED, command

UNUSED = frozenset({"aioboto3", "aiobotocore", "aiohttp", "boto3", "botocore", "structlog"})
"""Packages that the extension must not load for a plain bucket while it has no message to log."""
EXPECTED_MODULE = "logferry.sinks.s3.sink"
"""Module of the shipper. If it is missing in the output of the interpreter, the output is unusable."""
RUN_SECONDS = 60.0
"""Time limit of the extension. It needs less than a second on an idle machine."""
POST_SECONDS = 5.0
INVOKE_SECONDS = 20
SHUTDOWN_SECONDS = 2

_IMPORT = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


def check_start(home: Path, *, python: str, arch: Architecture, work: Path) -> None:
    """Run the extension of a tree. Raises CheckError if it fails, or if it loads a module of `UNUSED`."""
    s3, aws = S3Stub(), LambdaStub()
    with serving(s3), serving(aws):
        status, output = _run_extension(home, command(home, python=python, arch=arch), s3, aws, work)
    modules = set(_IMPORT.findall(output))
    messages = "\n".join(line for line in output.splitlines() if not line.startswith("import time:"))
    # 1. The extension failed.
    if status != 0:
        raise CheckError(f"the extension ended with status {status}:\n{messages[-2000:]}")
    # 2. The extension ended, and the record is lost.
    if set(s3.stored) != {"plain"}:
        raise CheckError(f"the extension stored in {s3.stored} and not in the bucket plain:\n{messages[-2000:]}")
    # 3. The output shows no modules.
    if EXPECTED_MODULE not in modules:
        raise CheckError(f"the interpreter does not list {EXPECTED_MODULE} as imported; the check has a fault")
    # 4. The extension works, and is slow.
    if loaded := sorted({name.split(".")[0] for name in modules} & UNUSED):
        raise CheckError(f"the extension loads {', '.join(loaded)} for a plain bucket; import it where it is needed")


def _run_extension(home: Path, interpreter: list[str], s3: S3Stub, aws: "LambdaStub", work: Path) -> tuple[int, str]:
    """Run the extension to its end; return its status and its output."""
    log = work / "extension.log"
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{aws.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL_S3": s3.url,
        "LOGFERRY_DESTINATION": "s3://plain/logs",
        "LOGFERRY_FLUSH": "invocation",
        "LOGFERRY_SPOOL_DIR": str(work / "spool"),
    }
    words = [*interpreter, *ISOLATED, "-X", "importtime", str(home / "main.pyc"), str(home / "site")]
    with log.open("wb") as output:
        extension = subprocess.Popen(
            words, env=environment, stdout=output, stderr=output, cwd=work, start_new_session=True
        )
        try:
            status = extension.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckError(
                f"the extension did not end within {RUN_SECONDS:.0f} s:\n{log.read_text()[-2000:]}"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # no process of the group is left
                os.killpg(extension.pid, signal.SIGKILL)
            extension.wait()
    return status, log.read_text()


class LambdaStub(ThreadingHTTPServer):
    """The Extensions API and the Telemetry API for one invocation and a shutdown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.listener = ""
        """URL of the extension's listener, from its subscription."""
        self.events = 0
        """Number of requests for the next event."""

    def deliver_batch(self) -> None:
        """Send the records of the invocation to the listener."""
        request = {"requestId": _REQUEST_ID}
        records = [
            _record("platform.start", {**request, "version": "$LATEST"}),
            _record("function", "a line of the function\n"),
            _record("platform.runtimeDone", {**request, "status": "success"}),
            _record("platform.report", {**request, "status": "success", "metrics": {"durationMs": 1.0}}),
        ]
        url = f"http://127.0.0.1:{urlsplit(self.listener).port}{urlsplit(self.listener).path}"
        post = urllib.request.Request(url, json.dumps(records).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(post, timeout=POST_SECONDS):  # noqa: S310 - loopback
            pass


_REQUEST_ID = "11111111-1111-4111-8111-111111111111"


def _record(kind: str, record: Any) -> dict[str, Any]:
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "type": kind, "record": record}


class _Handler(QuietHandler):
    server: LambdaStub

    def do_POST(self) -> None:  # noqa: N802 - a name of http.server
        """Respond to the registration."""
        self.body()
        document = {"functionName": "function", "functionVersion": "$LATEST", "handler": "handler"}
        self.respond(200, json.dumps(document), {"Lambda-Extension-Identifier": _REQUEST_ID})

    def do_PUT(self) -> None:  # noqa: N802
        """Respond to the subscription."""
        self.server.listener = json.loads(self.body())["destination"]["URI"]
        self.respond(200, '"OK"')

    def do_GET(self) -> None:  # noqa: N802
        """Respond to the requests for the next event: INVOKE with its records, then SHUTDOWN."""
        self.server.events += 1
        seconds = INVOKE_SECONDS if self.server.events == 1 else SHUTDOWN_SECONDS
        event: dict[str, Any] = {"deadlineMs": int((time.time() + seconds) * 1000)}
        if self.server.events == 1:
            threading.Thread(target=self.server.deliver_batch, daemon=True).start()
            event |= {"eventType": "INVOKE", "requestId": _REQUEST_ID, "invokedFunctionArn": "arn:aws:lambda"}
        else:
            event |= {"eventType": "SHUTDOWN", "shutdownReason": "spindown"}
        self.respond(200, json.dumps(event))
