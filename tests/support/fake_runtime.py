"""A small runtime for the emulator's tests, controlled by its arguments and by the keys of each event.

The keys of an event, in the order of processing:

| key | effect |
|---|---|
| print | text for stdout, unchanged |
| sleep | pause in seconds |
| exit | exit code of the process |
| variables | include the environment of the process in the response |
| next_first | request the next invocation before the response |
| wrong_id | respond to an unknown request first |
| error | type of the error to report |
| linger | seconds between the response and `/next` |

The arguments: "init-error" reports an error instead of starting, "ignore-sigterm" ignores SIGTERM,
"never-ready" requests no invocation.
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


def main() -> None:
    """Start as the arguments require, then process invocations until killed."""
    if "init-error" in sys.argv:
        body = json.dumps({"errorType": "Runtime.ImportModuleError", "errorMessage": "no module named app"})
        call("POST", "/init/error", body)
        sys.exit(1)
    if "ignore-sigterm" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "never-ready" in sys.argv:
        time.sleep(LONG_SECONDS)
    while True:
        serve()


main()
