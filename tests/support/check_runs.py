"""Runs of `logferry check` in this process, and S3 servers that refuse requests by their headers."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from logferry.cli.commands import cli
from support.s3_stub import OK, s3_error, server_that, status

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from support.s3_stub import Requests

DESTINATION = "s3://my-log-bucket/logs"
CANARY = "logs/_logferry_check/_canary"
ROLE = "User: arn:aws:sts::123456789012:assumed-role/pay-role/pay is not authorized to perform: "
FORBIDDEN = "403 Forbidden"


@dataclass(frozen=True)
class Checked:
    """The result of a check: exit status, and the steps by their names."""

    status: int
    steps: dict[str, dict[str, Any]]
    output: str

    def states(self) -> dict[str, str]:
        """Return the status of each step."""
        return {name: step["status"] for name, step in self.steps.items()}


def check(environment: Mapping[str, str], *arguments: str, stdin: str | None = None) -> Checked:
    """Run the command with JSON output. An exception that is no exit is raised."""
    result = CliRunner().invoke(cli, ["check", *arguments, "--json"], env=dict(environment), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    found: dict[str, Any] = json.loads(result.stdout or '{"steps": []}')
    assert found.get("status", result.exit_code) == result.exit_code
    return Checked(result.exit_code, {step["name"]: step for step in found["steps"]}, result.output)


@contextlib.contextmanager
def s3_that(respond: Callable[[str], bytes]) -> Iterator[tuple[dict[str, str], Requests]]:
    """Serve on loopback; `respond` gives the response for the head of each request."""
    with contextlib.ExitStack() as stack:

        def answer(connection: socket.socket, number: int) -> bool:
            head = requests.texts[number - 1]
            response = respond(head)
            if b"\r\nDate: " not in response:
                response = dated(response)
            if head.startswith("HEAD "):
                response = response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            connection.sendall(response)
            return True

        environment, requests = stack.enter_context(server_that(answer))
        yield environment, requests


def denied(action: str = "", reason: str = "because no identity-based policy allows the action") -> bytes:
    """Return a refusal with the sentence of AWS for an action, or the terse one of other stores."""
    sentence = f'{ROLE}{action} on resource: "arn:aws:s3:::my-log-bucket/x" {reason}' if action else "Access Denied."
    return s3_error(FORBIDDEN, "AccessDenied", message=sentence)


def refusing(headers: Mapping[str, bytes], *, other: bytes = OK) -> Callable[[str], bytes]:
    """Return a behaviour that refuses a PUT with one of these headers by the response for the first of them."""

    def respond(head: str) -> bytes:
        if not head.startswith("PUT "):
            return status("204 No Content") if head.startswith("DELETE ") else status("200 OK")
        return next((response for name, response in headers.items() if f"\n{name}:" in head.lower()), other)

    return respond


def dated(response: bytes, *, offset_seconds: float = 0, headers: str = "") -> bytes:
    """Return a response with the date of a server whose clock differs by an offset."""
    date = formatdate(time.time() + offset_seconds, usegmt=True)
    first, _, rest = response.partition(b"\r\n")
    return first + f"\r\nDate: {date}\r\n{headers}".encode() + rest
