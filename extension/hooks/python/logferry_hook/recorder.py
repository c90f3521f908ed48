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

from logferry_hook.event_pipe import LINE_LIMIT, EventPipe

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PATH_LIMIT, SHORT_PATH_LIMIT, HOST_LIMIT, METHOD_LIMIT = 1024, 256, 255, 32
"""Maximum lengths of recorded texts, in characters. A path is shorter in a line that is too long otherwise."""
HEADER_LIMIT = 200
"""Maximum size of the value of a header, in bytes."""
MEMBERS_LIMIT = LINE_LIMIT - 200
"""Maximum size of the members of a call. The rest of a line is for the members of the pipe."""
PLACES_LIMIT = 256
"""Maximum number of hosts whose description is kept."""
SECRET_LENGTH = 40
SECRET = re.compile("(?:[A-Za-z0-9+=_-]|%2[BbFf]|%3[Dd]){40}")
"""A part of a path that looks like a secret in base64 (also percent-encoded) or hexadecimal digits."""
BARE_NAME = re.compile("[A-Za-z_-]{1,30}")
"""A parameter of a query without a value, such as `acl`. Another one may be a value without a name."""
IDENTIFIER = re.compile(r"[\w.-]{1,64}", re.ASCII)
TRACE_ROOT = re.compile(r"(?:^|;)\s*Root=([\w-]{1,64})", re.ASCII)
MASK = "***"
NEVER_RECORDED = frozenset(
    (
        "authentication-info", "authorization", "cookie", "proxy-authenticate", "proxy-authentication-info",
        "proxy-authorization", "set-cookie", "set-cookie2", "www-authenticate", "x-amz-security-token", "x-api-key",
        "x-auth-token", "x-csrf-token",
    )
)  # fmt: skip
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
        self.pool: Any = None
        self.seen = 0
        self.restart(method, target)

    def restart(self, method: str, target: str) -> None:
        """Begin a call to the same place now."""
        self.method, self.target = method, target
        self.time, self.began, self.answered = time(), monotonic(), 0.0
        self.status: int | None = None
        self.request_bytes: int | None = None
        self.response_bytes: int | None = None
        self.retries = 0
        self.headers = ""


class Recorder:
    """Calls to lines: what is recorded of a call, and for which hosts."""

    def __init__(self, pipe: EventPipe, variables: "Mapping[str, str]") -> None:
        self.pipe = pipe
        self.in_pool: contextvars.ContextVar[Call | None] = contextvars.ContextVar("logferry_call", default=None)
        """Call of urllib3 that is running in this thread or task."""
        self.url = variables.get("LOGFERRY_CALLS_URL", "path").strip().lower()
        names = listed(variables.get("LOGFERRY_CALLS_HEADERS", ""))
        self.header_names = [name for name in names if name not in NEVER_RECORDED]
        patterns = listed(variables.get("LOGFERRY_CALLS_IGNORE", ""))
        expressions = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
        self.ignored = re.compile("(?:%s)(?::[0-9]+)?" % "|".join(expressions)).fullmatch if patterns else None
        self.runtime_api = variables.get("AWS_LAMBDA_RUNTIME_API", "")
        self.own_port = variables.get("LOGFERRY_PORT", "9513")
        self.places: dict[tuple[str, int], str] = {}

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

            self.pipe.add_lost(1, type(error).__name__)
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
        address = "%s:%d" % (name, port)
        skipped = (
            not name
            or address == self.runtime_api
            or name.startswith("169.254.")
            or (name in LOOPBACK and str(port) == self.own_port)
            or (self.ignored and (self.ignored(name) or self.ignored(address)))
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
        if request_id and IDENTIFIER.fullmatch(request_id):
            return ',"requestId":"%s"' % request_id
        root = TRACE_ROOT.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
        return ',"trace":"%s"' % root[1] if root else ""

    def end(self, call: "Call | None", error: "BaseException | str | None" = None, *, timed: bool = True) -> None:
        """Write the line of a call."""
        # No line: a callback has failed, the host is not recorded, or the request opens a tunnel through a proxy.
        if call is None or not call.place or call.method == "CONNECT":
            return
        duration = ',"durationMs":%.3f' % (((call.answered or monotonic()) - call.began) * 1000) if timed else ""
        members = self.members(call, duration, error)
        if len(members) > MEMBERS_LIMIT:
            call.headers = ""
            members = self.members(call, duration, error, SHORT_PATH_LIMIT)
        self.pipe.send(members)

    def members(
        self, call: Call, duration: str, error: "BaseException | str | None", path_limit: int = PATH_LIMIT
    ) -> str:
        """Return the JSON members of a call."""
        method = call.method[:METHOD_LIMIT].upper()
        text = '"call":%s,%s%s' % (quote(method), call.place, self.path(call.target, path_limit))
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

    def path(self, target: str, limit: int) -> str:
        """Return the JSON member of a request target, masked as the settings require."""
        if self.url == "host":
            return ""
        path, _, query = target.partition("#")[0].partition("?")
        if len(path) >= SECRET_LENGTH and SECRET.search(path):
            path = "/".join(map(self.masked, path.split("/")))
        if query and self.url == "query":
            path += "?" + "&".join(self.masked_parameter(*part.partition("=")) for part in query.split("&"))
        return ',"path":' + quote(path[:limit])

    def masked(self, text: str) -> str:
        """Return a part of a path, or the mask if it looks like a secret."""
        return MASK if SECRET.search(text) else text

    def masked_parameter(self, name: str, equals: str, _value: str) -> str:
        """Return a parameter of a query with a masked value."""
        if not equals:
            return name if BARE_NAME.fullmatch(name) else MASK
        return self.masked(name) + equals + MASK

    def chosen_headers(self, value_of: "Callable[[str], Any]") -> str:
        """Return the JSON member of the response headers that the settings name."""
        found = [(name, value_of(name)) for name in self.header_names]
        texts = ["%s:%s" % (quote(name), quote(shortened(str(value)))) for name, value in found if value]
        return ',"headers":{%s}' % ",".join(texts) if texts else ""


def listed(text: str) -> "list[str]":
    """Return the names of a setting in lower case."""
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def shortened(text: str) -> str:
    """Return the beginning of the value of a header."""
    return text.encode("utf-8", "replace")[:HEADER_LIMIT].decode("utf-8", "ignore")


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
