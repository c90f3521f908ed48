"""A Python function that makes calls, for measurements: a process that runs batches of calls on command.

Arguments: the client, the port of the server, and `plain`, `hooked`, `opentelemetry` (its spans are queued for an
exporter) or `opentelemetry-dropped`. It prints `ready`, reads the
number of calls of each batch from stdin, and prints the wall and CPU seconds of the batch. A hooked process is started
with the variables that `logferry-wrap` sets. The client `pipe` writes events to the pipe itself, and the client `post`
sends the same events to the server.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any

from awslambdaric import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

EVENT = b'{"event":"order placed","level":"info","order":"4711","customer":"a1b2","total":12.5,"items":["%s"]}\n' % (
    b"x" * 200
)
"""An event of 300 bytes."""


def _http_client(port: int) -> Callable[[], Any]:
    import http.client  # noqa: PLC0415 - only the measured client is imported

    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call() -> None:
        connection.request("GET", "/v1/orders/4711?expand=items")
        connection.getresponse().read()

    return call


def _urllib3(port: int) -> Callable[[], Any]:
    import urllib3  # noqa: PLC0415

    manager = urllib3.PoolManager()
    return functools.partial(manager.request, "GET", f"http://127.0.0.1:{port}/v1/orders/4711?expand=items")


def _requests(port: int) -> Callable[[], Any]:
    import requests  # noqa: PLC0415

    session = requests.Session()
    return functools.partial(session.get, f"http://127.0.0.1:{port}/v1/orders/4711?expand=items")


def _boto3(port: int) -> Callable[[], Any]:
    import boto3  # noqa: PLC0415

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="key",
        aws_secret_access_key="secret",  # noqa: S106 - accepted by the server
    )  # fmt: skip

    def call() -> None:
        client.get_object(Bucket="orders", Key="4711")["Body"].read()

    return call


def _pipe(_port: int) -> Callable[[], Any]:
    import os  # noqa: PLC0415

    pipe = os.open(os.environ["LOGFERRY_SPOOL_DIR"] + "/events", os.O_WRONLY | os.O_NONBLOCK)
    return functools.partial(os.write, pipe, EVENT)


def _post(port: int) -> Callable[[], Any]:
    import http.client  # noqa: PLC0415

    connection = http.client.HTTPConnection("127.0.0.1", port)

    def send() -> None:
        connection.request("POST", "/events", body=EVENT)
        connection.getresponse().read()

    return send


CLIENTS = {
    "http.client": _http_client,
    "urllib3": _urllib3,
    "requests": _requests,
    "boto3": _boto3,
    "pipe": _pipe,
    "post": _post,
}


def _instrument(*, exported: bool) -> None:
    """Instrument urllib3 with OpenTelemetry. Its spans are queued for an exporter that discards them, or dropped."""
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415

    class Discard(SpanExporter):
        def export(self, _spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    if exported:
        provider.add_span_processor(BatchSpanProcessor(Discard()))
    URLLib3Instrumentor().instrument(tracer_provider=provider)


def main() -> None:
    """Run batches until stdin ends."""
    client, port, mode = sys.argv[1:]
    bootstrap._GLOBAL_AWS_REQUEST_ID = "8f507cfc-example"
    if mode.startswith("opentelemetry"):
        _instrument(exported=mode == "opentelemetry")
    call = CLIENTS[client](int(port))
    call()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            call()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
