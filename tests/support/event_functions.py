"""Functions that send events with the clients of `config/events`, and the pieces of their runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import logferry.emulator.samples

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENTS = Path(__file__).parents[2] / "config" / "events"
SAMPLES = Path(logferry.emulator.samples.__file__).parent
TIMEOUTS = {"0.5": "20.0", "500": "20000"}
"""Timeouts of the clients, and those of the tests, in the same unit. A test machine may be busy."""


def copied(name: str, directory: Path) -> Path:
    """Copy a client into a directory, with the timeout of the tests; return the file."""
    text = (CLIENTS / name).read_text()
    before = text
    for short, long in TIMEOUTS.items():
        for form in ("max-time {}", "TIMEOUT_SECONDS = {}", "TIMEOUT_MS = {}", "ofMillis({})", "timeout = {} *"):
            text = text.replace(form.format(short), form.format(long))
    assert text != before, "the timeout of the client has another form"
    target = directory / name
    target.write_text(text)
    return target


PYTHON_FUNCTION = '''
import json, os, time
from events import send_event

PIPE = os.open(os.environ["LOGFERRY_SPOOL_DIR"] + "/events", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
sent = 0

def write(line):
    """Write one line as a hook does; return whether the pipe has taken it."""
    global sent
    sent += 1
    document = {**line, "time": int(time.time() * 1000), "pid": os.getpid(), "n": sent}
    try:
        os.write(PIPE, json.dumps(document).encode() + b"\\n")
    except BlockingIOError:
        return False
    return True

def handler(event, context):
    own = {"requestId": context.aws_request_id}
    stated = own if event.get("stated", True) else {}
    written = sum(write({"event": f"{event['marker']}-pipe-{n}", **stated}) for n in range(event.get("pipe", 0)))
    posted = sum(send_event({"event": f"{event['marker']}-post-{n}", **own}) for n in range(event.get("post", 0)))
    for line in event.get("raw", ()):
        os.write(PIPE, line.encode() + b"\\n")
    if event.get("metric"):
        send_event({"metric": event["marker"], "value": 3, "unit": "Count", **own})
    print("line of", event["marker"], flush=True)
    if event.get("kill"):
        os.kill(os.getpid(), 9)
    time.sleep(event.get("sleep", 0))
    return {"written": written, "posted": posted, "request": context.aws_request_id}
'''
NODE_FUNCTION = """
import { sendEvent } from "./events.mjs";

export const handler = async (event) => {
  const trace = process.env._X_AMZN_TRACE_ID;
  let posted = 0;
  for (let n = 0; n < (event.post ?? 0); n += 1) {
    posted += Number(await sendEvent({ event: `${event.marker}-post-${n}`, ...(trace ? { trace } : {}) }));
  }
  console.log(`line of ${event.marker}`);
  return { posted };
};
"""
SHELL_SEND = """
  send_event "{\\"event\\":\\"${marker}-post-0\\",\\"requestId\\":\\"$request_id\\"}"
  send_event "{\\"event\\":\\"${marker}-post-1\\",\\"requestId\\":\\"$request_id\\"}"
"""


CONCURRENT_RUNTIME = r"""
import http.client, json, os, threading, time
PIPE = os.open(os.environ["LOGFERRY_SPOOL_DIR"] + "/events", os.O_WRONLY | os.O_NONBLOCK)
API, LISTENER = os.environ["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:" + os.environ["LOGFERRY_PORT"]
BASE = "/2018-06-01/runtime/invocation/"

def write(line):
    for _ in range(2000):
        try:
            return os.write(PIPE, json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            time.sleep(0.01)

def serve():
    api = http.client.HTTPConnection(API)
    while True:
        api.request("GET", BASE + "next")
        invocation = api.getresponse()
        request, event = invocation.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(invocation.read())
        for n in range(event["lines"]):
            write({"event": event["marker"], "n": n, "requestId": request, "padding": "x" * (n * 37 % 3500)})
            time.sleep(event.get("pause", 0))
        listener = http.client.HTTPConnection(LISTENER, timeout=20)
        listener.request("POST", "/events", json.dumps({"metric": event["marker"], "value": 1, "requestId": request}))
        status = listener.getresponse().status
        listener.close()
        api.request("POST", BASE + request + "/response", json.dumps({"status": status, "request": request}))
        api.getresponse().read()

for _ in range(int(os.environ.get("THREADS", "1"))):
    threading.Thread(target=serve).start()
"""
"""A custom runtime for concurrent invocations. Each writes to the pipe and posts a metric, with its request."""


def python_function(directory: Path) -> Path:
    """Write a Python function and its client; return its directory, for `python -m awslambdaric function.handler`."""
    directory.mkdir(parents=True)
    copied("events.py", directory)
    (directory / "function.py").write_text(PYTHON_FUNCTION)
    return directory


def node_function(directory: Path) -> Path:
    """Write a Node function, its client and a minimal runtime; return the directory, for `node runtime.mjs`."""
    directory.mkdir(parents=True)
    copied("events.mjs", directory)
    runtime = (SAMPLES / "runtime.mjs").read_text()
    line = '  const id = invocation.headers["lambda-runtime-aws-request-id"];\n'
    assert line in runtime
    trace = '  process.env._X_AMZN_TRACE_ID = invocation.headers["lambda-runtime-trace-id"];\n'
    (directory / "runtime.mjs").write_text(runtime.replace(line, line + trace))
    (directory / "index.mjs").write_text(NODE_FUNCTION)
    return directory


def shell_function(directory: Path) -> Path:
    """Write a custom runtime in bash and its client; return the directory, for `bash bootstrap.sh`."""
    directory.mkdir(parents=True)
    client = copied("events.sh", directory)
    runtime = (SAMPLES / "bootstrap.sh").read_text()
    line = '  echo "${marker:-line}-0"\n'
    assert line in runtime
    (directory / "bootstrap.sh").write_text(
        runtime.replace("set -euo pipefail\n", f"set -euo pipefail\n. '{client}'\n").replace(line, line + SHELL_SEND)
    )
    return directory


def sent_records(records: list[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Return the records of events and metrics."""
    return [each for each in records if each["type"] in ("logferry.event", "logferry.metric", "logferry.call")]
