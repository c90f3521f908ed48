"""A receiver of logs on loopback: it checks each request, stores its body by the idempotency key, and can fail.

A request that is not valid HTTP for a body of logs fails the test at the end, because the server collects mistakes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from logferry import destination
from logferry.records import zstd_packing
from logferry.records.internal import FINAL
from logferry.sinks import https
from support.end_to_end import Arrived
from support.format_1 import read_lines, read_object
from support.s3_stub import TIMEOUT, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logferry.sinks.base import Sink

    Behaviour = Callable[["Received", int], "Answer"]

MEDIA_TYPES = ("application/x-ndjson", "application/json")
_KEY = re.compile(r'"([0-9a-z]+/\d+)"')


class Answer(NamedTuple):
    """The reaction of the receiver to one request."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stores: bool | None = None
    """Whether the body is stored; by default, if the status is 2xx."""
    seconds: float = 0.0
    """Time until the response."""
    closes: bool = False
    """Whether the connection is closed instead of a response."""


class Received(NamedTuple):
    """One request; the names of its headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The idempotency key, `environment/segment`."""
        match = _KEY.fullmatch(self.headers["idempotency-key"])
        assert match, self.headers["idempotency-key"]
        return match[1]

    @property
    def content(self) -> bytes:
        """The body without its content coding."""
        coding = self.headers.get("content-encoding", "")
        if coding == "zstd":
            return bytes(zstd_packing.load().decompress(self.body))
        assert coding in {"", "gzip"}, coding
        return gzip.decompress(self.body) if coding else self.body


@dataclass
class LogReceiver:
    """A running receiver."""

    url: str
    behave: Behaviour
    requests: list[Received] = field(default_factory=list)
    objects: dict[str, Received] = field(default_factory=dict)
    """The stored requests by their idempotency key, in the order of their arrival."""
    mistakes: list[str] = field(default_factory=list)

    def arrived(self) -> list[Arrived]:
        """Return the stored objects in format 1, with the facts of their closing lines, by environment and segment."""
        found = []
        for request in self.objects.values():
            closing = read_lines(request.content)[-1]
            record = json.loads(closing["record"])
            metadata = {
                "format": str(record["format"]),
                "environment": closing["environment"],
                "segment": str(closing["segment"]),
                "records": str(record["records"]),
                "first-time": record["first"],
                "last-time": record["last"],
                **({"final": "true"} if closing["type"] == FINAL else {}),
            }
            assert request.key == f"{metadata['environment']}/{metadata['segment']}"
            found.append(Arrived(request.key, metadata, read_object(request.content, metadata)[0]))
        return sorted(found, key=lambda one: (one.metadata["environment"], int(one.metadata["segment"])))


def https_sink(
    url: str,
    *,
    form: str = "ndjson",
    compression: str = "none",
    headers: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    seconds: float = TIMEOUT,
) -> Sink:
    """Return the sink for a URL. The fixture `closed_sinks` closes it."""
    place = destination.parse(url)
    return opened(
        https.open_sink(
            scheme=place.scheme,
            authority=place.authority,
            address=place.address,
            path=place.path,
            form=form,
            compression=compression,
            headers=headers or {},
            environ=environ or {},
            timeout_seconds=seconds,
        )
    )


def stores(_request: Received, _number: int) -> Answer:
    """Store each request."""
    return Answer()


def answering(*answers: Answer) -> Behaviour:
    """Return a behaviour that gives these answers in turn, and repeats the last one."""
    return lambda _request, number: answers[min(number, len(answers)) - 1]


@contextlib.contextmanager
def log_receiver(
    behave: Behaviour = stores, *, path: str = "/logs", certificate: tuple[str, str] | None = None
) -> Iterator[LogReceiver]:
    """Serve on loopback, with TLS if a certificate and its key are given."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30.0

        def do_POST(self) -> None:
            request = Received(
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers["content-length"])),
            )
            with lock:
                receiver.requests.append(request)
                number = len(receiver.requests)
                receiver.mistakes += _mistakes(request, receiver.url)
                answer = receiver.behave(request, number)
                if answer.stores or (answer.stores is None and 200 <= answer.status < 300):
                    before = receiver.objects.setdefault(request.key, request)
                    if before.body != request.body:
                        receiver.mistakes.append(f"another body with the key {request.key}")
            time.sleep(answer.seconds)
            if answer.closes:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            scheme = "https"
        receiver = LogReceiver(f"{scheme}://localhost:{server.server_port}{path}", behave)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)
    assert not receiver.mistakes, receiver.mistakes


def _mistakes(request: Received, url: str) -> Iterator[str]:
    """Yield what a strict receiver would refuse."""
    host, slash, path = url.partition("://")[2].partition("/")
    if request.headers.get("host") != host:
        yield f"host is {request.headers.get('host')}"
    if request.path != slash + path:
        yield f"path is {request.path}"
    if request.headers.get("content-type") not in MEDIA_TYPES:
        yield f"content-type is {request.headers.get('content-type')}"
    if "user-agent" not in request.headers or not _KEY.fullmatch(request.headers.get("idempotency-key", "")):
        yield "user-agent or idempotency-key is missing"
    if request.headers.get("content-type") == "application/json":
        try:
            json.loads(request.content)
        except ValueError as error:
            yield f"the body is not JSON: {error}"
