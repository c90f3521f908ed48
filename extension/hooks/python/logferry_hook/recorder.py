"""Recorder of HTTP calls: what a line contains of a call, and which hosts have none.

Guarantees:
- No exception of a callback reaches the function (`Recorder.guard`), except one of a signal handler of the function.
- A query's values, path segments that look like a secret, user info, credentials in headers, bodies and messages of
  exceptions are in no line.

Design: lines are formatted without `json.dumps`, which would double the cost of a call. The description of a host is
kept, because a function calls few hosts. The request ID is read when a call begins, because a thread may outlive its
invocation.
"""

import os
import sys
from _contextvars import ContextVar
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
"""Length of a path that may contain a secret."""
IDENTIFIER_LIMIT = 64
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

    # Attributes of the class are those of most calls. An instance sets only those that differ.
    answered = 0.0
    status: "int | None" = None
    request_bytes: "int | None" = None
    response_bytes: "int | None" = None
    retries = seen = 0
    headers = ""
    pool: "Any" = None
    kind: "Any" = None

    def __init__(self, method: str, place: str, target: str, request: str) -> None:
        self.method, self.place, self.target, self.request = method, place, target, request
        self.time, self.began = time(), monotonic()

    def restart(self, method: str, target: str) -> None:
        """Begin another call to the same host now."""
        self.method, self.target = method, target
        self.time, self.began, self.answered = time(), monotonic(), 0.0
        self.status = self.request_bytes = self.response_bytes = None
        self.retries, self.headers = 0, ""


class Recorder:
    """Calls to lines: what is recorded of a call, and for which hosts."""

    def __init__(self, pipe: EventPipe, variables: "Mapping[str, str]") -> None:
        self.pipe = pipe
        self.in_pool: ContextVar[Call | None] = ContextVar("logferry_call", default=None)
        """Call of urllib3 that is running in this thread or task."""
        self.url = variables.get("LOGFERRY_CALLS_URL", "path").strip().lower()
        names = listed(variables.get("LOGFERRY_CALLS_HEADERS", ""))
        self.header_names = [name for name in names if name not in NEVER_RECORDED]
        self.ignored = listed(variables.get("LOGFERRY_CALLS_IGNORE", ""))
        """Patterns of hosts."""
        self.runtime_api = variables.get("AWS_LAMBDA_RUNTIME_API", "")
        self.configured_port = variables.get("LOGFERRY_PORT", "9513")
        self.url_file = (variables.get("LOGFERRY_SPOOL_DIR") or "/tmp/logferry") + "/events-url"
        self.places: dict[tuple[str, int], str] = {}
        self.last_request, self.last_member = "", ""

    def guard(self, callback: "Callable[..., Any]", *arguments: "Any") -> "Any":
        """Return the result of a callback. If it raises an exception, count a lost line and return None."""
        try:
            return callback(*arguments)
        except Exception as error:
            self.callback_failed(error)
            return None

    def callback_failed(self, error: Exception) -> None:
        """Count a call that could not be recorded. Raise the exception if a signal handler of the function has."""
        is_of_function = False
        try:
            from logferry_hook.failures import raised_by_signal_handler

            self.pipe.add_lost(1, type(error).__name__)
            is_of_function = raised_by_signal_handler(error)
        except Exception:
            pass
        if is_of_function:
            raise error

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
            or (name in LOOPBACK and str(port) == self.listener_port())
            or (self.ignored and self.is_ignored(address))
        )
        text = "" if skipped else '"host":%s,"port":%d' % (quote(name[:HOST_LIMIT]), port)
        if len(self.places) >= PLACES_LIMIT:
            self.places.clear()
        self.places[host, port] = text
        return text

    def listener_port(self) -> str:
        """Return the port of logferry's listener. A file has its URL if the configured port was in use."""
        try:
            descriptor = os.open(self.url_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.read(descriptor, 100).decode().split("/")[2].rpartition(":")[2]
            finally:
                os.close(descriptor)
        except (OSError, ValueError, IndexError):
            return self.configured_port

    def is_ignored(self, address: str) -> bool:
        """Return whether a pattern matches a host with its port."""
        from logferry_hook.patterns import host_matcher

        return bool(host_matcher(self.ignored)(address))

    def request(self) -> str:
        """Return the JSON member of the running invocation: its request ID, or the root of its trace."""
        bootstrap = sys.modules.get("awslambdaric.bootstrap")
        request_id = getattr(bootstrap, "_GLOBAL_AWS_REQUEST_ID", None)
        if request_id:
            if request_id != self.last_request:
                self.last_request, self.last_member = request_id, ',"requestId":' + quote(request_id[:IDENTIFIER_LIMIT])
            return self.last_member
        for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";"):
            if part.strip().startswith("Root="):
                return ',"trace":' + quote(part.strip()[5:][:IDENTIFIER_LIMIT])
        return ""

    def end(self, call: "Call | None", error: "BaseException | str | None" = None, *, timed: bool = True) -> None:
        """Write the line of a call."""
        # No line: a callback has failed, the host is not recorded, or the request opens a tunnel through a proxy.
        if call is None or not call.place or call.method == "CONNECT":
            return
        outcome = "" if call.status is None else ',"status":%d' % call.status
        if timed:
            outcome += ',"durationMs":%.3f' % (((call.answered or monotonic()) - call.began) * 1000)
        if call.response_bytes is not None:
            outcome += ',"responseBytes":%d' % call.response_bytes
        if call.request_bytes is not None:
            outcome += ',"requestBytes":%d' % call.request_bytes
        if call.retries:
            outcome += ',"retries":%d' % call.retries
        if error is not None:
            outcome += ',"error":' + quote(error if isinstance(error, str) else self.error_name(error))
        members = '"call":%s,%s%s%s%s%s,"time":%d' % (
            quote(call.method[:METHOD_LIMIT].upper()), call.place, self.path(call.target), outcome, call.headers,
            call.request, call.time * 1000,
        )  # fmt: skip
        if len(members) > MEMBERS_LIMIT and (call.headers or len(call.target) > SHORT_PATH_LIMIT):
            call.headers, call.target = "", self.shown(call.target)[:SHORT_PATH_LIMIT]
            self.end(call, error, timed=timed)
        else:
            self.pipe.send(members)

    def error_name(self, error: BaseException) -> str:
        """Return the code or the class of an exception. A call without errors does not import the module."""
        from logferry_hook.failures import error_name

        return error_name(error)

    def path(self, target: str) -> str:
        """Return the JSON member of a request target."""
        return "" if self.url == "host" else ',"path":' + quote(self.shown(target)[:PATH_LIMIT])

    def shown(self, target: str) -> str:
        """Return the recorded part of a request target, masked as the settings require."""
        path, _, query = target.partition("#")[0].partition("?")
        if len(path) >= SECRET_LENGTH:
            from logferry_hook.patterns import masked_path

            path = masked_path(path)
        if query and self.url == "query":
            from logferry_hook.patterns import masked_query

            path += "?" + masked_query(query)
        return path

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
