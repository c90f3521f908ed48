"""HTTP clients with an event loop or of their own: httpcore (httpx) and aiohttp (aiobotocore).

Guarantees:
- Arguments, responses and exceptions are passed on unchanged, and no header is added.

Design: a method that is replaced contains the original call and guarded callbacks, and nothing else. A call of aiohttp
includes its redirects. Each of their responses has a separate line, as with the other clients.

References: the sources of `httpcore.ConnectionPool.handle_request` and `aiohttp.ClientSession._request`.
"""

from logferry_hook.recorder import default_port, length_of, located, recorder_of, replace

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    from logferry_hook.recorder import Call, Recorder

REDIRECTS = (301, 302, 303, 307, 308)


def patch(module: "ModuleType", descriptor: int) -> None:
    """Replace methods of httpcore or of aiohttp."""
    client = Httpcore if module.__name__ == "httpcore" else Aiohttp
    client(module, recorder_of(descriptor))


class Httpcore:
    """Calls of httpcore's pools: httpx."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        replace(module.ConnectionPool, "handle_request", self.handle_request)
        replace(module.AsyncConnectionPool, "handle_async_request", self.handle_async_request)

    def handle_request(self, original: "Any") -> "Any":
        """Record a call of a pool for threads."""

        def handle_request(pool: "Any", request: "Any") -> "Any":
            call = self.recorder.guard(self.begin, request)
            try:
                response = original(pool, request)
            except BaseException as error:
                self.recorder.guard(self.recorder.end, call, error)
                raise
            self.recorder.guard(self.end, call, response)
            return response

        return handle_request

    def handle_async_request(self, original: "Any") -> "Any":
        """Record a call of a pool for tasks."""

        async def handle_async_request(pool: "Any", request: "Any") -> "Any":
            call = self.recorder.guard(self.begin, request)
            try:
                response = await original(pool, request)
            except BaseException as error:
                self.recorder.guard(self.recorder.end, call, error)
                raise
            self.recorder.guard(self.end, call, response)
            return response

        return handle_async_request

    def begin(self, request: "Any") -> "Call":
        """Return the call of a request."""
        url = request.url
        port = url.port or default_port(url.scheme)
        call = self.recorder.begin(request.method.decode(), url.host.decode(), port, url.target.decode())
        call.request_bytes = length_of(value_of(request.headers, "content-length"))
        return call

    def end(self, call: "Call | None", response: "Any") -> None:
        """Write the line of a call with its response."""
        if call is None:
            return
        call.status, call.response_bytes = response.status, length_of(value_of(response.headers, "content-length"))
        if self.recorder.header_names:
            call.headers = self.recorder.chosen_headers(lambda name: value_of(response.headers, name))
        self.recorder.end(call)


def value_of(headers: "Iterable[tuple[bytes, bytes]]", name: str) -> "str | None":
    """Return the value of a header of httpcore, or None."""
    wanted = name.encode()
    for one, value in headers:
        if one.lower() == wanted:
            return value.decode("latin-1")
    return None


class Aiohttp:
    """Calls of aiohttp's client: aiobotocore too. Each response of a chain of redirects has its own line."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        replace(module.ClientSession, "_request", self.request)

    def request(self, original: "Any") -> "Any":
        """Record a call."""

        async def _request(session: "Any", *args: "Any", **kwargs: "Any") -> "Any":
            call = self.recorder.guard(self.begin, session, args, kwargs)
            try:
                response = await original(session, *args, **kwargs)
            except BaseException as error:
                self.recorder.guard(self.recorder.end, call, error)
                raise
            self.recorder.guard(self.end, call, response)
            return response

        return _request

    def begin(self, session: "Any", args: "Any", kwargs: "Any") -> "Call":
        """Return the call of a request. Its URL may be relative to that of the session."""
        method = args[0] if args else kwargs["method"]
        url = args[1] if len(args) > 1 else kwargs["str_or_url"]
        if getattr(session, "_base_url", None) is not None:
            url = session._build_url(url)
        return self.recorder.begin(method, *located(str(url), "", 0))

    def end(self, call: "Call | None", response: "Any") -> None:
        """Write the lines of a response and of the redirects before it, whose durations are not known."""
        if call is None:
            return
        for redirect in response.history:
            self.recorder.end(self.of_response(call, redirect), timed=False)
        self.recorder.end(self.of_response(call, response))

    def of_response(self, call: "Call", response: "Any") -> "Call":
        """Return the call that has received a response."""
        if response.history or response.status in REDIRECTS:
            began, written = call.began, call.time
            call = self.recorder.begin(response.method, *located(str(response.url), "", 0))
            call.began, call.time = began, written
        call.status, call.response_bytes = response.status, length_of(response.headers.get("Content-Length"))
        call.request_bytes = length_of(response.request_info.headers.get("Content-Length"))
        if self.recorder.header_names:
            call.headers = self.recorder.chosen_headers(response.headers.get)
        return call
