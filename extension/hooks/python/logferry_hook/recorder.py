"""Recorder of HTTP calls: what a line contains of a call, and which hosts have none.

Guarantees:
- No exception of a callback reaches the function (`Recorder.guard`), except one of a signal handler of the function.
- A query's values, path segments that look like a secret, user info, credentials in headers, bodies and messages of
  exceptions are in no line.

Design: lines are formatted without `json.dumps`, which would double the cost of a call. The description of a host is
kept, because a function calls few hosts. The request ID is read when a call begins, because a thread may outlive its
invocation.
"""

import contextvars
import os
import re
import sys
from json.encoder import encode_basestring_ascii as quote
from time import monotonic, time

from logferry_hook.event_pipe import EventPipe

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PATH_LIMIT, HEADER_LIMIT, HOST_LIMIT = 1024, 200, 255
"""Maximum lengths of recorded texts, in characters."""
PLACES_LIMIT = 256
"""Maximum number of hosts whose description is kept."""
SECRET_LENGTH = 40
SECRET = re.compile("(?:[A-Za-z0-9+=_~-]|%2[BbFf]|%3[Dd]){40}")
"""A part of a path that looks like a secret in base64 or hexadecimal digits."""
MASK = "***"
NEVER_RECORDED = frozenset(
    ("authorization", "cookie", "proxy-authorization", "set-cookie", "x-amz-security-token", "x-api-key")
)
"""Response headers that are not recorded, although `LOGFERRY_CALLS_HEADERS` names them."""
LOOPBACK = ("localhost", "127.0.0.1", "::1", "sandbox.localdomain", "sandbox")
MARK = "_logferry_hook"
"""Attribute of a method that replaces another one."""


class Call:
    """One HTTP call that has begun. `place` is empty for a host that is not recorded."""

    __slots__ = (
        "answered", "began", "headers", "method", "place", "pool", "request", "request_bytes", "response_bytes",
        "retries", "seen", "status", "target", "time",
    )  # fmt: skip

    def __init__(self, method: str, place: str, target: str, request: str) -> None:
        self.place, self.request = place, request
        self.pool: "Any" = None
        self.seen = 0
        self.restart(method, target)

    def restart(self, method: str, target: str) -> None:
        """Begin a call to the same place now."""
        self.method, self.target = method, target
        self.time, self.began, self.answered = time(), monotonic(), 0.0
        self.status = self.request_bytes = self.response_bytes = None
        self.retries = 0
        self.headers = ""


class Recorder:
    """Calls to lines: what is recorded of a call, and for which hosts."""

    def __init__(self, pipe: EventPipe, variables: "Mapping[str, str]") -> None:
        self.pipe = pipe
        self.in_pool: "contextvars.ContextVar[Call | None]" = contextvars.ContextVar("logferry_call", default=None)
        """Call of urllib3 that is running in this thread or task."""
        self.url = variables.get("LOGFERRY_CALLS_URL", "path").lower()
        names = listed(variables.get("LOGFERRY_CALLS_HEADERS", ""))
        self.header_names = [name for name in names if name not in NEVER_RECORDED]
        patterns = listed(variables.get("LOGFERRY_CALLS_IGNORE", ""))
        expression = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
        self.ignored = re.compile(expression).fullmatch if patterns else None
        self.runtime_api = variables.get("AWS_LAMBDA_RUNTIME_API", "")
        self.own_port = variables.get("LOGFERRY_PORT", "9513")
        self.places: "dict[tuple[str, int], str]" = {}

    def guard(self, callback: "Callable[..., Any]", *arguments: "Any") -> "Any":
        """Return the result of a callback. If it raises an exception, count a lost line and return None."""
        try:
            return callback(*arguments)
        except Exception as error:
            if self.count_failure(error):
                raise
            return None

    def count_failure(self, error: Exception) -> bool:
        """Count a call that could not be recorded. Return whether a signal handler of the function has raised."""
        try:
            from logferry_hook.failures import raised_by_signal_handler

            self.pipe.add_lost(1)
            return raised_by_signal_handler(error)
        except Exception:
            return False

    def begin(self, method: str, host: str, port: int, target: str) -> Call:
        """Return a call that begins now."""
        place = self.places.get((host, port))
        if place is None:
            place = self.place(host, port)
        return Call(method, place, target, self.request() if place else "")

    def place(self, host: str, port: int) -> str:
        """Return the JSON members of a host and a port, or an empty text if its calls are not recorded."""
        name = host.strip("[]").lower()
        skipped = (
            not name
            or "%s:%d" % (name, port) == self.runtime_api
            or name.startswith("169.254.")
            or (name in LOOPBACK and str(port) == self.own_port)
            or (self.ignored and self.ignored(name))
        )
        text = "" if skipped else '"host":%s,"port":%d' % (quote(name[:HOST_LIMIT]), port)
        if len(self.places) >= PLACES_LIMIT:
            self.places.clear()
        self.places[host, port] = text
        return text

    def request(self) -> str:
        """Return the JSON member of the running invocation: its request ID, or the root of its trace."""
        bootstrap = sys.modules.get("awslambdaric.bootstrap")
        request_id = getattr(bootstrap, "_GLOBAL_AWS_REQUEST_ID", None)
        if request_id:
            return ',"requestId":' + quote(request_id)
        for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";"):
            if part.startswith("Root="):
                return ',"trace":' + quote(part[5:])
        return ""

    def end(self, call: "Call | None", error: "BaseException | str | None" = None, *, timed: bool = True) -> None:
        """Write the line of a call. None and calls of hosts that are not recorded have none."""
        if call is not None and call.place:
            duration = ((call.answered or monotonic()) - call.began) * 1000
            self.pipe.send(self.members(call, ',"durationMs":%.3f' % duration if timed else "", error))

    def members(self, call: Call, duration: str, error: "BaseException | str | None") -> str:
        """Return the JSON members of a call."""
        text = '"call":%s,%s%s' % (quote(call.method.upper()), call.place, self.path(call.target))
        if call.status is not None:
            text += ',"status":%d' % call.status
        text += duration
        if call.request_bytes is not None:
            text += ',"requestBytes":%d' % call.request_bytes
        if call.response_bytes is not None:
            text += ',"responseBytes":%d' % call.response_bytes
        if call.retries:
            text += ',"retries":%d' % call.retries
        if error is not None:
            text += ',"error":' + quote(error if isinstance(error, str) else self.error_name(error))
        return '%s%s%s,"time":%d' % (text, call.headers, call.request, call.time * 1000)

    def error_name(self, error: BaseException) -> str:
        """Return the code or the class of an exception. A call without errors does not import the module."""
        from logferry_hook.failures import error_name

        return error_name(error)

    def path(self, target: str) -> str:
        """Return the JSON member of a request target, masked as the settings require."""
        if self.url == "host":
            return ""
        path, _, query = target.partition("#")[0].partition("?")
        if len(path) >= SECRET_LENGTH:
            path = "/".join(map(self.masked, path.split("/")))
        if query and self.url == "query":
            path += "?" + "&".join(self.masked_parameter(*part.partition("=")) for part in query.split("&"))
        return ',"path":' + quote(path[:PATH_LIMIT])

    def masked(self, text: str) -> str:
        """Return a part of a path, or the mask if it looks like a secret."""
        return MASK if SECRET.search(text) else text

    def masked_parameter(self, name: str, equals: str, _value: str) -> str:
        """Return a parameter of a query with a masked value."""
        return self.masked(name) + (equals + MASK if equals else "")

    def chosen_headers(self, value_of: "Callable[[str], Any]") -> str:
        """Return the JSON member of the response headers that the settings name."""
        found = [(name, value_of(name)) for name in self.header_names]
        texts = ["%s:%s" % (quote(name), quote(str(value)[:HEADER_LIMIT])) for name, value in found if value]
        return ',"headers":{%s}' % ",".join(texts) if texts else ""


def listed(text: str) -> "list[str]":
    """Return the names of a setting in lower case."""
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def length_of(value: "Any") -> "int | None":
    """Return the value of a Content-Length header."""
    return int(value) if value and value.isdigit() else None


def located(url: str, host: str, port: int) -> "tuple[str, int, str]":
    """Return host, port and target of a request. An absolute URL replaces the given host and port."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isalnum():
        return host, port, url
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    place = authority.rpartition("@")[2]
    host, bracket, after = place.partition("]") if place.startswith("[") else ("", "", "")
    if not bracket:
        host, _, after = place.partition(":")
    digits = after.lstrip(":")
    port = int(digits) if digits.isdigit() else default_port(scheme)
    return host, port, rest[len(authority) :] or "/"


def default_port(scheme: "str | bytes") -> int:
    """Return the port of a scheme."""
    return 443 if scheme in ("https", b"https", "wss", b"wss") else 80


def replace(owner: "Any", name: str, make: "Callable[[Any], Any]") -> None:
    """Replace a method by the result of `make(method)`, which keeps its name, documentation and signature."""
    original = getattr(owner, name)
    if getattr(original, MARK, False):
        return
    replacement = make(original)
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(replacement, attribute, getattr(original, attribute))
    replacement.__wrapped__ = original
    setattr(replacement, MARK, True)
    setattr(owner, name, replacement)


recorders: "list[Recorder]" = []


def recorder_of(descriptor: int) -> Recorder:
    """Return the recorder of this process, whose lines are written to a descriptor."""
    if not recorders:
        recorders.append(Recorder(EventPipe(descriptor), os.environ))
    return recorders[0]
