"""A small runtime for the emulator's tests, controlled by its arguments and by the keys of each event.

The keys of an event, in the order of processing:

| key | effect |
|---|---|
| print | text for stdout, unchanged |
| print_stderr | text for stderr, unchanged |
| sleep | pause in seconds |
| exit | exit code of the process |
| variables | include the environment of the process in the response |
| next_first | request the next invocation before the response |
| wrong_id | respond to an unknown request first |
| error | type of the error to report |
| linger | seconds between the response and `/next` |

The arguments:

| argument | effect |
|---|---|
| init-error | reports an error instead of starting |
| init-crash | prints a line on stdout and on stderr, and exits with status 1 |
| never-ready | requests no invocation |
| ignore-sigterm | ignores SIGTERM |
| sigterm-lines:N | prints N lines on SIGTERM and exits |
| sigterm-sleep:SECONDS | sleeps on SIGTERM, then prints a line and exits |
| internal-extension | registers an internal extension for no event |
| restore | waits for the restore of a snapshot, and prints a line after it |
| restore-hang | does not return from its after-restore hook |
| restore-error | reports a failed after-restore hook |
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from typing import Any

LONG_SECONDS = 3600.0
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method: str, path: str, body: str | None = None, **headers: str) -> tuple[http.client.HTTPResponse, str]:
    """Send one request and return its response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, "/2018-06-01/runtime" + path, body=body, headers=named)
    response = connection.getresponse()
    return response, response.read().decode()


def serve() -> None:
    """Process one invocation."""
    invocation, text = call("GET", "/invocation/next")
    request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
    event: dict[str, Any] = json.loads(text)
    sys.stdout.write(event.get("print", ""))
    sys.stdout.flush()
    sys.stderr.write(event.get("print_stderr", ""))
    sys.stderr.flush()
    time.sleep(event.get("sleep", 0))
    response_body: dict[str, Any] = {"headers": dict(invocation.headers)}
    if "exit" in event:
        os._exit(event["exit"])
    if event.get("variables"):
        response_body["variables"] = dict(os.environ)
    if event.get("next_first"):
        response, body = call("GET", "/invocation/next")
        response_body["rejection"] = [response.status, json.loads(body)]
    if event.get("wrong_id"):
        response, body = call("POST", "/invocation/not-this-one/response", "{}")
        response_body["rejection"] = [response.status, json.loads(body)]
    if "error" in event:
        headers = {"Lambda_Runtime_Function_Error_Type": event["error"]}
        call("POST", f"/invocation/{request_id}/error", json.dumps({"errorMessage": "on request"}), **headers)
    else:
        call("POST", f"/invocation/{request_id}/response", json.dumps(response_body))
    time.sleep(event.get("linger", 0))


def end_on_sigterm(argument: str) -> None:
    """Perform the action of a SIGTERM handler and exit."""
    action, _, detail = argument.partition(":")
    if action == "sigterm-sleep":
        time.sleep(float(detail))
    lines = int(detail) if action == "sigterm-lines" else 1
    sys.stdout.write("".join(f"sigterm {number}\n" for number in range(lines)))
    sys.stdout.flush()
    os._exit(0)


def restore() -> None:
    """Wait for the restore of the snapshot and run the after-restore hook."""
    call("GET", "/restore/next")
    if "restore-hang" in sys.argv:
        time.sleep(LONG_SECONDS)
    if "restore-error" in sys.argv:
        headers = {"Lambda_Runtime_Function_Error_Type": "Runtime.AfterRestoreError"}
        call("POST", "/restore/error", json.dumps({"errorMessage": "hook failed"}), **headers)
        sys.exit(1)
    sys.stdout.write("restored\n")
    sys.stdout.flush()


def main() -> None:
    """Start as the arguments require, then process invocations until killed."""
    if "init-error" in sys.argv:
        body = json.dumps({"errorType": "Runtime.ImportModuleError", "errorMessage": "no module named app"})
        call("POST", "/init/error", body)
        sys.exit(1)
    if "init-crash" in sys.argv:
        sys.stdout.write("starting\n")
        sys.stdout.flush()
        sys.stderr.write("cannot connect to the database\n")
        sys.stderr.flush()
        os._exit(1)
    if "ignore-sigterm" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for argument in sys.argv[1:]:
        if argument.startswith("sigterm-"):
            signal.signal(signal.SIGTERM, lambda *_, argument=argument: end_on_sigterm(argument))
    if "internal-extension" in sys.argv:
        api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        headers = {"Lambda-Extension-Name": "internal"}
        api.request("POST", "/2020-01-01/extension/register", body='{"events": []}', headers=headers)
        identifier = api.getresponse().headers["Lambda-Extension-Identifier"]
        # The Init phase ends after the first /next of every extension; no event follows.
        api.close()
        api.request("GET", "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": identifier})
    if "never-ready" in sys.argv:
        time.sleep(LONG_SECONDS)
    if any(argument.startswith("restore") for argument in sys.argv):
        restore()
    while True:
        serve()


main()
