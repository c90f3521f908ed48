"""A small extension for the emulator's tests: it does what its one argument, a JSON object, says. No dependencies.

name, events            how it registers
api, subscription       "telemetry" or "logs", and the fields of the body that differ from the usual
notes                   a file it appends to, one JSON object a line: every answer and every delivery it gets
at_start                before registering: "exit:N", "hang", "child" (start one), "variables" (note them)
before_next             before the first /next: "exit:N", "init-error", "hang", "hold:FIFO" (until it is written to)
on_invoke               "exit:N", "exit-error", "hang", "sleep:SECONDS", "two-nexts"
on_shutdown             "hang", "sleep:SECONDS", "exit:N"
refuse                  how many deliveries to answer with 500
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

WISH: dict[str, Any] = json.loads(sys.argv[1])
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
FOREVER = 3600.0
_note_lock = threading.Lock()


def note(kind: str, **fields: Any) -> None:
    """Write down what was seen."""
    with _note_lock, Path(WISH["notes"]).open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **fields}) + "\n")


class Listener(BaseHTTPRequestHandler):
    """Takes deliveries."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Note the body; accept it, unless this is one of those to refuse."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode(errors="surrogateescape")
        refused = WISH.get("refuse", 0) > 0
        if refused:
            WISH["refuse"] -= 1
        note("delivery", body=body, path=self.path, refused=refused, host=self.headers["Host"])
        self.send_response(500 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name the base class gives it
        """Say nothing: what is printed here is delivered here."""


def call(connection: http.client.HTTPConnection, method: str, path: str, body: object, **headers: str) -> Any:
    """One request; notes and returns its answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=named)
    response = connection.getresponse()
    text = response.read().decode()
    note("answer", path=path, status=response.status, body=text, headers=dict(response.headers))
    return response, text


def act(wish: str, identifier: str = "") -> None:
    """Do one of the things the wish can name."""
    what, _, detail = wish.partition(":")
    if what == "exit":
        os._exit(int(detail))
    elif what == "hang":
        time.sleep(FOREVER)
    elif what == "sleep":
        time.sleep(float(detail))
    elif what == "hold":
        with Path(detail).open("rb", buffering=0) as fifo:
            fifo.read(1)
    elif what == "child":
        subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER})"])
    elif what == "variables":
        note("variables", variables=dict(os.environ))
    elif what in ("init-error", "exit-error"):
        connection = http.client.HTTPConnection(API)
        path = f"/2020-01-01/extension/{what.replace('-', '/')}"
        headers = {"Lambda_Extension_Identifier": identifier, "Lambda_Extension_Function_Error_Type": "Extension.Fake"}
        call(connection, "POST", path, {}, **headers)
        os._exit(1)


def next_twice(identifier: str) -> None:
    """Ask for an event on a connection of its own while the main thread waits for one already."""
    connection = http.client.HTTPConnection(API)
    call(connection, "GET", "/2020-01-01/extension/event/next", None, Lambda_Extension_Identifier=identifier)


def main() -> None:
    """Register, subscribe, loop."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    act(WISH.get("at_start", ""))
    connection = http.client.HTTPConnection(API)
    body = {"events": WISH.get("events", ["INVOKE", "SHUTDOWN"])}
    response, _ = call(connection, "POST", "/2020-01-01/extension/register", body, Lambda_Extension_Name=WISH["name"])
    identifier = response.headers["Lambda-Extension-Identifier"]
    if "api" in WISH:
        path = {"telemetry": "/2022-07-01/telemetry", "logs": "/2020-08-15/logs"}[WISH["api"]]
        subscription = {
            "schemaVersion": "2025-01-29",
            "types": ["platform", "function"],
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{listener.server_port}/in"},
        } | WISH.get("subscription", {})
        call(connection, "PUT", path, subscription, Lambda_Extension_Identifier=identifier)
    act(WISH.get("before_next", ""), identifier)
    while True:
        _, text = call(
            connection, "GET", "/2020-01-01/extension/event/next", None, Lambda_Extension_Identifier=identifier
        )
        if json.loads(text)["eventType"] == "SHUTDOWN":
            act(WISH.get("on_shutdown", ""), identifier)
            break
        if WISH.get("on_invoke") == "two-nexts":
            WISH["on_invoke"] = ""
            threading.Timer(0.05, next_twice, [identifier]).start()
        act(WISH.get("on_invoke", ""), identifier)


main()
