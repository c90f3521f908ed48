"""A small runtime for the emulator's tests: it does what each event says, in this order. Standard library only.

    print        text to write to stdout as it is        sleep        seconds
    variables    answer with the process's environment   exit         end the process with this code
    error        report an error of this type            next_first   ask for the next before answering
    wrong_id     answer another request first            linger       seconds between the answer and the next /next

Its arguments: "init-error" reports one instead of starting, "deaf" ignores SIGTERM, "never" does not ask for anything.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from typing import Any

FOREVER = 3600.0
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method: str, path: str, body: str | None = None, **headers: str) -> tuple[http.client.HTTPResponse, str]:
    """One request, one answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, "/2018-06-01/runtime" + path, body=body, headers=named)
    response = connection.getresponse()
    return response, response.read().decode()


def serve() -> None:
    """One invocation."""
    invocation, text = call("GET", "/invocation/next")
    request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
    event: dict[str, Any] = json.loads(text)
    sys.stdout.write(event.get("print", ""))
    sys.stdout.flush()
    time.sleep(event.get("sleep", 0))
    answer: dict[str, Any] = {"headers": dict(invocation.headers)}
    if "exit" in event:
        os._exit(event["exit"])
    if event.get("variables"):
        answer["variables"] = dict(os.environ)
    if event.get("next_first"):
        response, body = call("GET", "/invocation/next")
        answer["refusal"] = [response.status, json.loads(body)]
    if event.get("wrong_id"):
        response, body = call("POST", "/invocation/not-this-one/response", "{}")
        answer["refusal"] = [response.status, json.loads(body)]
    if "error" in event:
        headers = {"Lambda_Runtime_Function_Error_Type": event["error"]}
        call("POST", f"/invocation/{request_id}/error", json.dumps({"errorMessage": "as asked"}), **headers)
    else:
        call("POST", f"/invocation/{request_id}/response", json.dumps(answer))
    time.sleep(event.get("linger", 0))


def main() -> None:
    """Start as asked, then serve until killed."""
    if "init-error" in sys.argv:
        body = json.dumps({"errorType": "Runtime.ImportModuleError", "errorMessage": "no module named app"})
        call("POST", "/init/error", body)
        sys.exit(1)
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "never" in sys.argv:
        time.sleep(FOREVER)
    while True:
        serve()


main()
