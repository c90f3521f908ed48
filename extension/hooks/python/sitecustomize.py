"""Start of logferry's hook in a Python function, before the function's own code.

Guarantees:
- `sys.path` and `PYTHONPATH` are as they were before `logferry-wrap`, and the function's own `sitecustomize` runs.
- No exception of this file reaches the function.
- Without `LOGFERRY_CALLS`, and without an extension that reads the pipe, nothing else happens.

Design: Python executes this file because `logferry-wrap` puts its directory first in `PYTHONPATH`. The file imports
only modules that every interpreter has already loaded, and is short because a read-only layer is compiled in each cold
start. A finder in `sys.meta_path` waits for the HTTP clients. The modules in `logferry_hook` are imported with the
first client, so a function without one does not pay for them. Syntax and library are those of Python 3.9.

References: "site" and "The import system" in the Python documentation.
"""

import os
import sys
from stat import S_ISFIFO

TYPE_CHECKING = False  # type checkers treat this name as true; `import typing` would cost each cold start 4 ms
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "logferry_hook"
CLIENTS = {
    "http.client": "http_client",
    "urllib3.connectionpool": "urllib3_client",
    "httpcore": "async_clients",
    "aiohttp.client": "async_clients",
}
"""Module of the package that patches an HTTP client, for each module of a client."""
NOT_RECORDED = '{"event":"calls of this HTTP client are not recorded","level":"warn","client":"%s","error":"%s"}\n'
DESCRIPTOR = 1000
"""Preferred number of the pipe's descriptor. A function that closes low numbers cannot reuse it by accident."""


class ClientFinder:
    """A finder that patches the HTTP clients that other finders find."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.searching: set[str] = set()

    def install(self) -> None:
        """Patch the clients that are already imported, and wait for the others."""
        sys.meta_path.insert(0, self)
        for name in CLIENTS:
            if name in sys.modules:
                self.patch(sys.modules[name])

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        """Return the specification of an HTTP client with a loader that patches it, or None."""
        try:
            if name not in CLIENTS or name in self.searching:
                return None
            return self.watched_spec(name, path, target)
        except Exception:
            return None  # the other finders raise it again in their own turn

    def watched_spec(self, name: str, path: "Any", target: "Any") -> "ModuleSpec | None":
        """Return the specification that the other finders return. They may search through this finder again."""
        self.searching.add(name)
        try:
            for finder in list(sys.meta_path):
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find(name, path, target) if find else None
                if spec is not None:
                    self.watch(spec.loader)
                    return spec
            return None
        finally:
            self.searching.discard(name)

    def watch(self, loader: "Any") -> None:
        """Patch the module that a loader executes. The loader stays the same object, because others inspect it."""
        try:
            execute = loader.exec_module

            def exec_module(module: "ModuleType") -> None:
                execute(module)
                self.patch(module)

            loader.exec_module = exec_module
        except Exception as error:
            self.report(type(loader).__name__, type(error).__name__)

    def patch(self, module: "ModuleType") -> None:
        """Replace the methods of an HTTP client. A loader of several modules passes others too."""
        try:
            if module.__name__ in CLIENTS:
                client = __import__(PACKAGE + "." + CLIENTS[module.__name__], fromlist=["patch"])
                client.patch(module, self.descriptor)
        except Exception as error:
            self.report(module.__name__, type(error).__name__)

    def report(self, client: str, error: str) -> None:
        """Write an event about a client whose methods this version of the hook does not find."""
        try:
            os.write(self.descriptor, (NOT_RECORDED % (client, error)).encode("ascii"))
        except Exception:
            pass


def leave_search_path() -> None:
    """Restore `sys.path` and `PYTHONPATH`, to which `logferry-wrap` has added this directory at the beginning."""
    if DIRECTORY in sys.path:
        sys.path.remove(DIRECTORY)
    sys.path_importer_cache.pop(DIRECTORY, None)
    added, separator, before = os.environ.get("PYTHONPATH", "").partition(":")
    # 1. Another value: it is not the wrapper's.
    # 2. The directory alone: the variable did not exist.
    # 3. An empty value after it: Python has added the working directory for it.
    # 4. The value before.
    if added != DIRECTORY:
        return
    if not separator:
        del os.environ["PYTHONPATH"]
        return
    if not before and sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]
    os.environ["PYTHONPATH"] = before


def start() -> None:
    """Install the hook if calls are recorded and an extension reads the pipe."""
    if os.environ.get("LOGFERRY_CALLS", "").strip().lower() not in ("summary", "each"):
        return
    descriptor = open_pipe()
    if descriptor < 0:
        return
    package: Any = type(sys)(PACKAGE)  # a package without a place in sys.path
    package.__path__ = [DIRECTORY + "/" + PACKAGE]
    sys.modules[PACKAGE] = package
    ClientFinder(descriptor).install()


def open_pipe() -> int:
    """Return a descriptor of the pipe, or -1 if it does not exist, has no reader, or is not a FIFO of this user."""
    path = (os.environ.get("LOGFERRY_SPOOL_DIR") or "/tmp/logferry") + "/events"
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    probe = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags)  # fails without a reader
    try:
        status = os.fstat(probe)
        if not S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
            return -1
        # With O_RDWR this process is a reader too. A write after the extension's end then raises no SIGPIPE, which
        # would kill a function that has restored its default action.
        return move_up(os.open("/proc/self/fd/%d" % probe, os.O_RDWR | flags))
    finally:
        os.close(probe)


def move_up(descriptor: int) -> int:
    """Return the descriptor under a high number, or itself if the number is in use or too high."""
    try:
        os.fstat(DESCRIPTOR)
    except OSError:
        try:
            os.dup2(descriptor, DESCRIPTOR, False)
        except OSError:
            return descriptor
        os.close(descriptor)
        return DESCRIPTOR
    return descriptor


def run_next_sitecustomize() -> None:
    """Import the function's `sitecustomize`. Python reports its exceptions, as without this file."""
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = own


for step in (leave_search_path, start):
    try:
        step()
    except Exception:
        pass
run_next_sitecustomize()
