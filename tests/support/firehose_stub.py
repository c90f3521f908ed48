"""A server on loopback that replaces Firehose: it judges each request by botocore's model, and injects faults."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import botocore.session
from botocore.validate import ParamValidator

from logferry.aws.credentials import CredentialSource
from logferry.aws.service_endpoint import resolve
from logferry.sinks.firehose.sink import FirehoseSink

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

STREAM = "my-stream"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Documented limit of a request. The stub applies it to the complete body."""
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
_ONE_RESULT = b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"}]}'
FIREHOSE_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_ONE_RESULT), _ONE_RESULT)
"""Response to a request with one record, for servers that send bytes (`s3_stub`)."""
_RECORD_ID = "x" * 220
"""Text of the length of a real RecordId."""


class Reply(NamedTuple):
    """The reaction to one request. The default is to accept all records."""

    failed: Collection[int] = ()
    """Records that are reported as failed, by their position."""
    status: int = 200
    code: str = ""
    message: str = ""
    """Code and sentence of an error. The records are not accepted then, except with `accepts`."""
    accepts: bool = False
    closes: bool = False
    """Whether the connection is closed without a response."""
    seconds: float = 0.0
    """Time before the response."""
    raw: bytes | None = None
    """The body of the response, instead of the results."""
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """One received request."""

    headers: Mapping[str, str]
    body: bytes
    records: Sequence[bytes]


@dataclass
class FirehoseStub:
    """A running server. `reply` decides about each request, whose number begins with 1."""

    port: int
    reply: Callable[[int, Sequence[bytes]], Reply]
    requests: list[Request] = field(default_factory=list)
    accepted: list[bytes] = field(default_factory=list)
    """Records that a real stream would deliver."""
    connections: int = 0
    violations: list[str] = field(default_factory=list)
    """Requests that Firehose would refuse."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which any AWS SDK uses this server."""
        return {"AWS_ENDPOINT_URL_FIREHOSE": f"http://127.0.0.1:{self.port}"} | KEYS

    @property
    def lines(self) -> list[bytes]:
        """The accepted lines, without line breaks."""
        return b"".join(self.accepted).splitlines()

    def take(self, handler: BaseHTTPRequestHandler) -> tuple[Request, Reply]:
        """Judge a request, and return the reaction to it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        records = self._judge(handler, body)
        with self.lock:
            self.requests.append(request := Request(dict(handler.headers), body, records))
            number = len(self.requests)
        reply = self.reply(number, records)
        if reply.status == 200 or reply.accepts:
            with self.lock:
                self.accepted += [record for place, record in enumerate(records) if place not in reply.failed]
        return request, reply

    def _judge(self, handler: BaseHTTPRequestHandler, body: bytes) -> list[bytes]:
        model = service_model()
        target = f"{model.metadata['targetPrefix']}.PutRecordBatch"
        content_type = f"application/x-amz-json-{model.metadata['jsonVersion']}"
        if (handler.headers["X-Amz-Target"], handler.headers["Content-Type"]) != (target, content_type):
            self.violations.append(f"target or content type: {dict(handler.headers)}")
        if len(body) > MAX_REQUEST_BYTES:
            self.violations.append(f"the request has {len(body)} bytes")
        try:
            parameters = json.loads(body)
            for record in parameters["Records"]:
                record["Data"] = base64.b64decode(record["Data"], validate=True)
        except (ValueError, KeyError, TypeError) as error:
            self.violations.append(f"the body is not valid: {error!r}")
            return []
        self.violations += violations_of(parameters)
        return [record["Data"] for record in parameters["Records"]]


@functools.cache
def service_model() -> Any:
    """Return botocore's model of Firehose."""
    return botocore.session.Session().get_service_model("firehose")


def violations_of(parameters: Mapping[str, Any]) -> list[str]:
    """Return the violations of botocore's model: types, and the limits that botocore leaves to the service."""
    shape = service_model().operation_model("PutRecordBatch").input_shape
    report = ParamValidator().validate(parameters, shape)
    return [*([report.generate_report()] if report.has_errors() else []), *_limits(parameters, shape, "input")]


def _limits(value: Any, shape: Any, place: str) -> Iterator[str]:
    """Yield the values that are longer than the model allows, or do not match its pattern."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from _limits(value[name], member, f"{place}.{name}")
        return
    if shape.type_name == "list":
        for number, each in enumerate(value):
            yield from _limits(each, shape.member, f"{place}[{number}]")
    if len(value) > shape.metadata.get("max", float("inf")):
        yield f"{place} has the length {len(value)}"
    if not re.fullmatch(shape.metadata.get("pattern", "(?s:.*)"), value if isinstance(value, str) else ""):
        yield f"{place} does not match its pattern"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: FirehoseStub

    def setup(self) -> None:
        """Count the connection."""
        self.stub.connections += 1
        super().setup()

    def do_POST(self) -> None:
        """Respond as the reply of the test defines."""
        request, reply = self.stub.take(self)
        time.sleep(reply.seconds)
        if reply.closes:
            self.close_connection = True
            return
        body = _results(request.records, reply) if reply.status == 200 else _error(reply)
        body = body if reply.raw is None else reply.raw
        self.send_response_only(reply.status)
        if "Date" not in reply.headers:
            self.send_header("Date", self.date_time_string())
        for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        with contextlib.suppress(OSError):  # the client may have ended
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def _results(records: Sequence[bytes], reply: Reply) -> bytes:
    entries = [
        {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        if place in reply.failed
        else {"RecordId": _RECORD_ID}
        for place in range(len(records))
    ]
    document = {"FailedPutCount": len(reply.failed), "Encrypted": False, "RequestResponses": entries}
    return json.dumps(document).encode()


def _error(reply: Reply) -> bytes:
    return json.dumps({"__type": reply.code, "message": reply.message}).encode() if reply.code else b""


def replying(*replies: Reply) -> Callable[[int, Sequence[bytes]], Reply]:
    """Return the decision that gives these replies in turn, and repeats the last one."""
    return lambda number, _records: replies[min(number, len(replies)) - 1]


@contextlib.contextmanager
def firehose_stub(reply: Callable[[int, Sequence[bytes]], Reply] | None = None) -> Iterator[FirehoseStub]:
    """Serve on loopback; without `reply`, accept all. Fail at the end if a request was one that Firehose refuses."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    stub = handler.stub = FirehoseStub(server.server_address[1], reply or replying(Reply()))  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
        assert not stub.violations, stub.violations
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def as_firehose(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose endpoint of S3 is one of Firehose (`s3_stub.server_that`)."""
    others = {name: value for name, value in environment.items() if name != "AWS_ENDPOINT_URL_S3"}
    return others | {"AWS_ENDPOINT_URL_FIREHOSE": environment["AWS_ENDPOINT_URL_S3"]}


def firehose_sink(environment: Mapping[str, str], **changes: Any) -> FirehoseSink:
    """Return a sink for the stream of a stub."""
    region = environment["AWS_REGION"]
    given: dict[str, Any] = {
        "stream": STREAM,
        "region": region,
        "address": resolve("firehose", region, environment),
        "credentials": CredentialSource(environment),
        "environ": environment,
        "timeout_seconds": 5.0,
    }
    return FirehoseSink(**given | changes)
