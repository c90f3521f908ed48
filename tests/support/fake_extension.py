"""A small extension for the emulator's tests, controlled by a JSON object as its argument.

| key | effect |
|---|---|
| name, events | the registration |
| api, subscription | "telemetry" or "logs", and the fields that replace the defaults of the subscription |
| notes | the file for each response and each batch, one JSON object per line |
| at_start | before registration: "exit:N", "hang", "child" (start one), "variables" (note them) |
| before_next | before the first `/next`: "exit:N", "init-error", "hang", "hold:FIFO" (wait for a byte) |
| on_invoke | "exit:N", "exit-error", "hang", "sleep:SECONDS", "two-nexts" |
| on_unknown | action for an event of another type, as for `on_invoke` |
| on_shutdown | "hang", "sleep:SECONDS", "exit:N" |
| reject | number of batches to answer with 500 |
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BEHAVIOUR: dict[str, Any] = json.loads(sys.argv[1])
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
LONG_SECONDS = 3600.0
_note_lock = threading.Lock()


def note(kind: str, **fields: Any) -> None:
    """Append a note with the current time."""
    with _note_lock, Path(BEHAVIOUR["notes"]).open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **fields}) + "\n")


class Listener(BaseHTTPRequestHandler):
    """The listener for batches."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Note the body and accept it, unless it is to be rejected."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode(errors="surrogateescape")
        rejected = BEHAVIOUR.get("reject", 0) > 0
        if rejected:
            BEHAVIOUR["reject"] -= 1
        note("batch", body=body, path=self.path, rejected=rejected, host=self.headers["Host"])
        self.send_response(500 if rejected else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name the base class gives it
        """Print nothing, because the platform delivers the output to this extension."""


def call(connection: http.client.HTTPConnection, method: str, path: str, body: object, **headers: str) -> Any:
    """Send one request; note and return its response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=named)
    response = connection.getresponse()
    text = response.read().decode()
    note("response", path=path, status=response.status, body=text, headers=dict(response.headers))
    return response, text


def act(action: str, identifier: str = "") -> None:
    """Perform one action of the behaviour."""
    what, _, detail = action.partition(":")
    if what == "exit":
        os._exit(int(detail))
    elif what == "hang":
        time.sleep(LONG_SECONDS)
    elif what == "sleep":
        time.sleep(float(detail))
    elif what == "hold":
        with Path(detail).open("rb", buffering=0) as fifo:
            fifo.read(1)
    elif what == "child":
        subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({LONG_SECONDS})"])
    elif what == "variables":
        note("variables", variables=dict(os.environ))
    elif what in ("init-error", "exit-error"):
        connection = http.client.HTTPConnection(API)
        path = f"/2020-01-01/extension/{what.replace('-', '/')}"
        headers = {"Lambda_Extension_Identifier": identifier, "Lambda_Extension_Function_Error_Type": "Extension.Fake"}
        call(connection, "POST", path, {}, **headers)
        os._exit(1)


def next_twice(identifier: str) -> None:
    """Request an event on a second connection while the main thread waits for one."""
    connection = http.client.HTTPConnection(API)
    call(connection, "GET", "/2020-01-01/extension/event/next", None, Lambda_Extension_Identifier=identifier)


def main() -> None:
    """Register, subscribe, and process events."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    act(BEHAVIOUR.get("at_start", ""))
    connection = http.client.HTTPConnection(API)
    body = {"events": BEHAVIOUR.get("events", ["INVOKE", "SHUTDOWN"])}
    path = "/2020-01-01/extension/register"
    response, _ = call(connection, "POST", path, body, Lambda_Extension_Name=BEHAVIOUR["name"])
    identifier = response.headers["Lambda-Extension-Identifier"]
    if "api" in BEHAVIOUR:
        path = {"telemetry": "/2022-07-01/telemetry", "logs": "/2020-08-15/logs"}[BEHAVIOUR["api"]]
        subscription = {
            "schemaVersion": "2025-01-29",
            "types": ["platform", "function"],
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{listener.server_port}/in"},
        } | BEHAVIOUR.get("subscription", {})
        call(connection, "PUT", path, subscription, Lambda_Extension_Identifier=identifier)
    act(BEHAVIOUR.get("before_next", ""), identifier)
    while True:
        _, text = call(
            connection, "GET", "/2020-01-01/extension/event/next", None, Lambda_Extension_Identifier=identifier
        )
        event_type = json.loads(text)["eventType"]
        if event_type == "SHUTDOWN":
            act(BEHAVIOUR.get("on_shutdown", ""), identifier)
            break
        if event_type != "INVOKE":
            act(BEHAVIOUR.get("on_unknown", ""), identifier)
            continue
        if BEHAVIOUR.get("on_invoke") == "two-nexts":
            BEHAVIOUR["on_invoke"] = ""
            threading.Timer(0.05, next_twice, [identifier]).start()
        act(BEHAVIOUR.get("on_invoke", ""), identifier)


main()
