"""Hooked Python processes: threads, forks, full pipes, signals, nested calls, other instrumentation, and many calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.calls_server import calls_server
from support.python_hook import LINE_LIMIT, hooked, run_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.calls_server import CallsServer
    from support.python_hook import PipeReader

THREADS, CALLS = 8, 40
MANY, FIRST = 10_000, 2_000
GROWTH_KIB = 1024
"""Maximum growth of the resident memory in the calls after the first ones: less than one line per ten calls."""


@pytest.fixture
def http(tmp_path: Path) -> Iterator[CallsServer]:
    """Serve plain HTTP, whose calls are faster."""
    with calls_server(tmp_path, tls=False) as server:
        yield server


def url(server: CallsServer) -> str:
    """Return the URL of a server without TLS."""
    return server.url.replace("https:", "http:").replace("localhost", "127.0.0.1")


def test_threads_write_complete_lines(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """Each call of each thread has one line, and the numbers are those from 1 without gaps."""
    code = f"""
import http.client, sys, threading
def work(name):
    connection = http.client.HTTPConnection(sys.argv[1].split("//")[1])
    for number in range({CALLS}):
        connection.request("GET", f"/{{name}}/{{number}}")
        connection.getresponse().read()
threads = [threading.Thread(target=work, args=(name,)) for name in range({THREADS})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    run_python(code, hooked(spool), url(http))

    lines = pipe.calls()
    assert sorted(line["path"] for line in lines) == sorted(f"/{t}/{c}" for t in range(THREADS) for c in range(CALLS))
    assert sorted(line["n"] for line in lines) == list(range(1, THREADS * CALLS + 1))
    assert all("lost" not in line for line in lines)


def test_forked_processes_number_their_own_lines(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """A child has its own process ID and starts at 1; the parent continues."""
    code = """
import os, sys, urllib.request
def call(name): urllib.request.urlopen(sys.argv[1] + "/" + name).read()
call("parent")
child = os.fork()
if child == 0:
    call("child"); call("child"); os._exit(0)
os.waitpid(child, 0)
call("parent")
"""
    run_python(code, hooked(spool), url(http))

    lines = pipe.calls()
    numbers = {name: [line["n"] for line in lines if line["path"] == f"/{name}"] for name in ("parent", "child")}
    assert numbers == {"parent": [1, 2], "child": [1, 2]}
    assert len({line["pid"] for line in lines}) == 2


def test_full_pipe_is_counted_and_delays_nothing(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """The calls work, and the first line that fits reports the lost ones. The numbers have no gap."""
    code = """
import os, sys, urllib.request
def call(name): urllib.request.urlopen(sys.argv[1] + "/" + name, timeout=20).read()
pipe = os.open(os.environ["LOGFERRY_SPOOL_DIR"] + "/events", os.O_RDWR | os.O_NONBLOCK)
call("before")
try:
    while True: os.write(pipe, b"x" * 4095 + b"\\n")
except BlockingIOError: pass
for number in range(5): call("lost")
try:
    while os.read(pipe, 65536): pass
except BlockingIOError: pass
call("after")
call("last")
"""
    run_python(code, hooked(spool), url(http))

    lines = [line for line in pipe.calls() if line["path"] != "/before"]
    assert [(line["path"], line["n"], line.get("lost")) for line in lines] == [("/after", 2, 5), ("/last", 3, None)]


def test_long_line_is_shortened_until_it_fits(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """Headers are left out first, and the path is shortened. Characters that JSON escapes do not exceed the limit."""
    code = """
import sys, urllib3
pool = urllib3.connection_from_url(sys.argv[1])
pool.urlopen("GET", "/" + "\\u00e9" * 2000, retries=False)
pool.urlopen("GET", "/" + "/".join(["short"] * 2000), retries=False)
"""
    run_python(code, hooked(spool, {"LOGFERRY_CALLS_HEADERS": "x-amzn-requestid"}), url(http))

    lines = pipe.calls()
    assert len(lines) == 2
    assert all(line["path"].startswith(("/\u00e9", "/short/")) for line in lines)
    assert all(len(json.dumps(line)) < LINE_LIMIT for line in lines)


def test_exception_of_a_signal_handler_reaches_the_function(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """The limit of a deadline (SIGALRM) that ends in a callback of the hook is not swallowed."""
    code = """
import signal, sys, urllib.request
sys.path.insert(0, "")
import logferry_hook.recorder as recorder
class Deadline(Exception): pass
def handler(number, frame): raise Deadline
signal.signal(signal.SIGUSR1, handler)
original = recorder.Recorder.path
def path(self, *arguments):
    signal.raise_signal(signal.SIGUSR1)
    return original(self, *arguments)
recorder.Recorder.path = path
try: urllib.request.urlopen(sys.argv[1] + "/x")
except Deadline: print("deadline")
"""
    assert run_python(code, hooked(spool), url(http)).split() == ["deadline"]
    assert pipe.lines() == []


def test_call_inside_another_call_has_its_own_line(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """A body that another call produces, with the same client or another one, is neither a retry nor lost."""
    code = """
import sys, urllib.request, urllib3
url = sys.argv[1]
manager = urllib3.PoolManager()
def body():
    yield urllib.request.urlopen(url + "/inner/urllib").read()
    yield manager.request("GET", url + "/inner/urllib3").data
print(manager.request("POST", url + "/status/200", body=body(), headers={"Content-Length": "16"}).status)
"""
    assert run_python(code, hooked(spool), url(http)).split() == ["200"]

    lines = {line["path"]: line for line in pipe.calls()}
    assert set(lines) == {"/inner/urllib", "/inner/urllib3", "/status/200"}
    assert all(line["status"] == 200 and "retries" not in line for line in lines.values())
    assert lines["/status/200"]["requestBytes"] == 16


def test_redirect_inside_a_pool_ends_a_call(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """A pool of urllib3 without a manager follows redirects to its own host. Each response has a line."""
    code = """
import sys, urllib3
print(urllib3.connection_from_url(sys.argv[1]).request("POST", "/redirect/pool", body="abc").status)
"""
    assert run_python(code, hooked(spool), url(http)).split() == ["200"]

    assert [(line["path"], line["status"], line["n"]) for line in pipe.calls()] == [
        ("/redirect/pool", 302, 1), ("/status/200", 200, 2)
    ]  # fmt: skip


def test_connection_that_the_function_closes_is_an_aborted_call(
    spool: Path, pipe: PipeReader, http: CallsServer
) -> None:
    """A request without a response has a line when its connection is closed, with the error that closed it."""
    code = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1].split("//")[1])
connection.request("GET", "/hang/closed"); connection.close()
try:
    connection.putrequest("POST", "/upload"); connection.endheaders()
    raise LookupError
except LookupError: connection.close()
connection.close()
try: connection.endheaders()
except http.client.CannotSendHeader: print("no request")
"""
    assert run_python(code, hooked(spool), url(http)).split() == ["no", "request"]

    lines = pipe.calls()
    assert [(line["path"], line["error"]) for line in lines] == [
        ("/hang/closed", "ECONNABORTED"), ("/upload", "LookupError")
    ]  # fmt: skip
    assert all("lost" not in line for line in lines)


def test_server_that_closes_kept_connections_is_not_noticed(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """A session whose connections the server closes opens new ones, as without the hook."""
    code = """
import sys, requests
with requests.Session() as session:
    for number in range(6):
        path = "/abort" if number % 2 else "/status/200"
        try: print(session.get(sys.argv[1] + path, timeout=20).status_code)
        except requests.ConnectionError as error: print("error")
"""
    output = run_python(code, hooked(spool), url(http))

    assert output == run_python(code, {}, url(http))
    assert output.split() == ["200", "error"] * 3
    assert len(pipe.calls()) == 6


def test_descriptor_that_the_function_closes_is_not_written_to(
    spool: Path, pipe: PipeReader, http: CallsServer, tmp_path: Path
) -> None:
    """A function that closes all descriptors and opens a file has no line in this file."""
    code = """
import os, sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/one").read()
os.closerange(3, 1024)
files = [open(f"{sys.argv[2]}/{number}", "wb") for number in range(20)]
urllib.request.urlopen(sys.argv[1] + "/two").read()
"""
    run_python(code, hooked(spool), url(http), str(tmp_path))

    assert [line["path"] for line in pipe.calls()] == ["/one"]
    assert [(tmp_path / str(number)).read_bytes() for number in range(20)] == [b""] * 20


@pytest.mark.parametrize("first", ["instrumentation", "client"])
def test_opentelemetry_sees_the_same_calls(spool: Path, pipe: PipeReader, http: CallsServer, first: str) -> None:
    """Spans and lines exist for each call, whichever of the two patches the client first."""
    instrument = """
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
URLLib3Instrumentor().instrument(tracer_provider=provider)
"""
    calls = """
for number in range(3):
    requests.get(f"{sys.argv[1]}/requests/{number}")
    urllib3.PoolManager().request("GET", f"{sys.argv[1]}/urllib3/{number}")
print(json.dumps([span.attributes["http.url"].removeprefix(sys.argv[1]) for span in exporter.get_finished_spans()]))
"""
    imports = "import json, sys, requests, urllib3"
    run = [instrument, imports] if first == "instrumentation" else [imports, instrument]

    spans = json.loads(run_python("\n".join([*run, calls]), hooked(spool), url(http)))

    expected = sorted(f"/{client}/{number}" for client in ("requests", "urllib3") for number in range(3))
    assert sorted(spans) == expected
    assert sorted(line["path"] for line in pipe.calls()) == expected


def test_memory_and_descriptors_do_not_grow(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """After ten thousand calls, memory and descriptors are as after the first ones, although the pipe is full."""
    code = f"""
import gc, os, sys, http.client, urllib3
host = sys.argv[1].split("//")[1]
connection, pool = http.client.HTTPConnection(host), urllib3.connection_from_url(sys.argv[1])
def state():
    gc.collect()
    resident = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return resident, len(os.listdir("/proc/self/fd"))
for number in range({MANY}):
    if number == {FIRST}: first = state()
    if number % 4:
        connection.request("GET", f"/{{number}}"); connection.getresponse().read()
    else:
        pool.urlopen("GET", f"/{{number}}")
last = state()
print(last[0] - first[0], last[1] - first[1])
"""
    memory, descriptors = map(int, run_python(code, hooked(spool), url(http)).split())

    assert memory <= GROWTH_KIB
    assert descriptors == 0
    assert 0 < len(pipe.calls()) < MANY
