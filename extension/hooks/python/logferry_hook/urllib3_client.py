"""Calls of urllib3's pools: requests and botocore.

Guarantees:
- Arguments, responses and exceptions are passed on unchanged, and no header is added.
- A call has one line with its retries, although urllib3 uses `http.client` for each attempt.

Design: a method that is replaced contains the original call and guarded callbacks, and nothing else. The running call
is a context variable, which `logferry_hook.http_client` completes.

References: the source of `urllib3.connectionpool.HTTPConnectionPool.urlopen`.
"""

from logferry_hook.recorder import default_port, located, recorder_of, replace

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from logferry_hook.recorder import Call, Recorder

RETRIES = 4
"""Index of `retries` in the positional arguments of `urlopen`."""


def patch(module: "ModuleType", descriptor: int) -> None:
    """Replace a method of urllib3."""
    Urllib3(module, recorder_of(descriptor))


class Urllib3:
    """Replacement of the method of `HTTPConnectionPool`."""

    def __init__(self, module: "ModuleType", recorder: "Recorder") -> None:
        self.recorder = recorder
        replace(module.HTTPConnectionPool, "urlopen", self.urlopen)

    def urlopen(self, original: "Any") -> "Any":
        """Record a call. urllib3 calls this method again for each retry and each redirect of a pool."""
        guard, end, begin, complete = self.recorder.guard, self.recorder.end, self.begin, self.complete
        running, set_running = self.recorder.in_pool.get, self.recorder.in_pool.set

        def urlopen(pool: "Any", *args: "Any", **kwargs: "Any") -> "Any":
            outer = running()
            call = guard(begin, pool, outer, args, kwargs)
            if call is None:
                return original(pool, *args, **kwargs)
            set_running(call)
            try:
                response = original(pool, *args, **kwargs)
            except BaseException as error:
                guard(end, call, error)
                raise
            finally:
                set_running(outer)
            guard(complete, call, response)
            return response

        return urlopen

    def begin(self, pool: "Any", outer: "Call | None", args: "Any", kwargs: "Any") -> "Call | None":
        """Return a new call, or None if `urlopen` repeats the running one."""
        method = args[0] if args else kwargs["method"]
        url = args[1] if len(args) > 1 else kwargs["url"]
        history = getattr(args[RETRIES] if len(args) > RETRIES else kwargs.get("retries"), "history", ())
        if outer is not None and outer.pool is pool and len(history) > outer.seen:
            self.repeat(outer, method, url, history)
            return None
        port = pool.port or default_port(pool.scheme)
        place = (pool.host, port, url) if url.startswith("/") else located(url, pool.host, port)
        call = self.recorder.begin(method, *place)
        call.pool, call.kind = pool, pool.ConnectionCls
        if history:
            call.seen = len(history)
        return call

    def repeat(self, call: "Call", method: str, url: str, history: "Any") -> None:
        """Count a retry. A redirect ends the call and begins another one."""
        if history[-1].redirect_location:
            self.recorder.end(call)
            call.restart(method, located(url, "", 0)[2])
        else:
            call.retries += 1
            call.answered, call.status, call.response_bytes = 0.0, None, None
        call.seen = len(history)

    def complete(self, call: "Call", response: "Any") -> None:
        """Write the line of a call. `http.client` has not received its response if it is one of HTTP/2."""
        if call.status is None and isinstance(getattr(response, "status", None), int):
            call.status = response.status
        self.recorder.end(call)
