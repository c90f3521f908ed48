"""Start of a Python function with the hook: search path, other `sitecustomize` modules, flags and versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.python_hook import HOOK, hooked, pipe_reader, run_python

if TYPE_CHECKING:
    from support.calls_server import CallsServer
    from support.python_hook import PipeReader

STATE = """
import json, os, sys
print(json.dumps({
    "path": sys.path,
    "pythonpath": os.environ.get("PYTHONPATH"),
    "cached": [name for name in sys.path_importer_cache if "hooks" in name],
    "modules": sorted(sys.modules),
}))
"""
CALL = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).status)"
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def state(variables: dict[str, str], **options: Any) -> dict[str, Any]:
    """Return what the function observes of its start."""
    found: dict[str, Any] = json.loads(run_python(STATE, variables, **options).splitlines()[-1])
    return found


def interpreters() -> dict[str, str]:
    """Return an interpreter of each supported version that this machine has."""
    roots = [*map(Path, os.environ.get("PATH", "").split(":")), *Path.home().glob(".pyenv/versions/*/bin")]
    return {
        version: str(found[-1])
        for version in VERSIONS
        if (found := [root / f"python{version}" for root in roots if (root / f"python{version}").is_file()])
    }


@pytest.mark.parametrize("before", [None, "", "/no/such/folder", "first:second"])
@pytest.mark.parametrize("calls", ["off", "each"])
def test_search_path_is_as_without_the_hook(spool: Path, pipe: PipeReader, before: str | None, calls: str) -> None:
    """`PYTHONPATH` is absent where it was absent, and empty where it was empty. `sys.path` is the same."""
    plain = state({} if before is None else {"PYTHONPATH": before})

    with_hook = state(hooked(spool, {"LOGFERRY_CALLS": calls}, before=before))

    assert with_hook["pythonpath"] == plain["pythonpath"] == before
    assert with_hook["path"] == plain["path"]
    assert with_hook["cached"] == []
    assert pipe.lines() == []


def test_start_imports_nothing_until_an_http_client_is_imported(spool: Path, pipe: PipeReader) -> None:
    """A function without an HTTP client has the hook's first module and its empty package, and nothing else."""
    plain = state({})["modules"]

    with_hook = state(hooked(spool))["modules"]
    without_pipe = state(hooked(spool / "missing"))["modules"]

    assert set(with_hook) - set(plain) == {"sitecustomize", "logferry_hook"}
    assert set(without_pipe) - set(plain) == {"sitecustomize"}
    assert pipe.lines() == []


def test_users_sitecustomize_runs_and_is_the_imported_one(
    spool: Path, pipe: PipeReader, https: CallsServer, tmp_path: Path
) -> None:
    """The module of the function replaces the hook in `sys.modules`, and a client that it imports is patched."""
    (tmp_path / "sitecustomize.py").write_text("import http.client\nVALUE = 42\n")
    code = "import sitecustomize; print(sitecustomize.VALUE, sitecustomize.__file__)\n" + CALL
    variables = hooked(spool, https.trust, before=str(tmp_path))

    output = run_python(code, variables, f"{https.url}/x")

    assert output.split() == ["42", str(tmp_path / "sitecustomize.py"), "200"]
    assert [line["path"] for line in pipe.calls()] == ["/x"]


@pytest.mark.parametrize("error", ["raise RuntimeError('user')", "import missing_module", "raise SystemExit(3)"])
def test_errors_of_a_users_sitecustomize_are_reported_by_python(spool: Path, tmp_path: Path, error: str) -> None:
    """Exit code and messages are the same with and without the hook, except for the frames of a traceback."""
    (tmp_path / "sitecustomize.py").write_text(error)
    command = [sys.executable, "-c", "print('function')"]

    def run(variables: dict[str, str]) -> tuple[int, str, list[str]]:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if not line.startswith("  ")]

    assert run(hooked(spool, before=str(tmp_path))) == run({"PYTHONPATH": str(tmp_path)})


@pytest.mark.parametrize("flags", [["-I"], ["-S"], ["-E"], ["-I", "-S"]], ids=" ".join)
def test_isolated_interpreter_has_no_hook(spool: Path, pipe: PipeReader, https: CallsServer, flags: list[str]) -> None:
    """Python ignores PYTHONPATH or `sitecustomize` there. The function runs, and its calls have no line."""
    assert run_python(CALL, hooked(spool, https.trust), f"{https.url}/x", flags=flags).split() == ["200"]
    assert pipe.lines() == []


def test_child_process_has_no_hook(spool: Path, pipe: PipeReader, https: CallsServer) -> None:
    """The variable is restored, so an interpreter that the function starts is not hooked."""
    code = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {CALL!r}, sys.argv[1]]).returncode)"

    assert run_python(code, hooked(spool, https.trust), f"{https.url}/x").split() == ["200", "0"]
    assert pipe.lines() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_supported_versions(spool: Path, pipe: PipeReader, https: CallsServer, version: str) -> None:
    """Search path, `sitecustomize` and calls of `http.client` work in each version that this machine has."""
    if version not in interpreters():
        pytest.skip(f"this machine has no Python {version}")
    python = interpreters()[version]
    plain = state({"PYTHONPATH": "/one:/two"}, python=python)

    with_hook = state(hooked(spool, before="/one:/two"), python=python)
    run_python(CALL, hooked(spool, https.trust), f"{https.url}/x?secret=1", python=python)

    assert (with_hook["path"], with_hook["pythonpath"]) == (plain["path"], plain["pythonpath"])
    (line,) = pipe.calls()
    assert (line["path"], line["status"], line["host"], line["port"]) == ("/x", 200, "localhost", https.port)


def test_module_that_is_not_a_known_client_is_reported_once(spool: Path, pipe: PipeReader, tmp_path: Path) -> None:
    """A module with the name of a client works unchanged, and one event has its name."""
    (tmp_path / "httpcore.py").write_text("VALUE = 1\n")

    output = run_python("import httpcore; import httpcore; print(httpcore.VALUE)", hooked(spool, before=str(tmp_path)))

    assert output.split() == ["1"]
    (event,) = pipe.lines()
    assert (event["client"], event["error"]) == ("httpcore", "AttributeError")


def test_client_in_a_zip_file_is_patched(spool: Path, pipe: PipeReader, tmp_path: Path) -> None:
    """One loader serves all modules of a zip file. The client is patched, and the other modules are not touched."""
    source = "class ConnectionPool:\n    def handle_request(self, request): return 'response'\n"
    source += "class AsyncConnectionPool:\n    async def handle_async_request(self, request): return 'response'\n"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("httpcore.py", source + "import helper\n")
        archive.writestr("helper.py", "VALUE = 1\n")
    code = """
import httpcore, helper
print(httpcore.ConnectionPool().handle_request(None), hasattr(httpcore.ConnectionPool.handle_request, "__wrapped__"))
print(helper.VALUE)
"""
    output = run_python(code, hooked(spool, before=str(tmp_path / "code.zip")))

    assert output.split() == ["response", "True", "1"]
    assert pipe.lines() == []


def test_loader_without_the_usual_method_is_reported(spool: Path, pipe: PipeReader, tmp_path: Path) -> None:
    """The client of a loader that cannot be observed is imported unchanged, and one event has the loader's class."""
    (tmp_path / "sitecustomize.py").write_text("""
import importlib.machinery, sys
class Loader:
    __slots__ = ()
    def create_module(self, spec): return None
    def exec_module(self, module): module.VALUE = 1
class Finder:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, Loader()) if name == "httpcore" else None
sys.meta_path.insert(1, Finder())
""")
    output = run_python("import httpcore; print(httpcore.VALUE)", hooked(spool, before=str(tmp_path)))

    assert output.split() == ["1"]
    (event,) = pipe.lines()
    assert (event["client"], event["error"]) == ("Loader", "AttributeError")


def test_clients_keep_their_names_signatures_and_loaders(spool: Path, pipe: PipeReader) -> None:
    """Libraries that inspect or wrap the patched methods find what they find without the hook."""
    code = """
import http.client, inspect, json, aiohttp, httpcore, urllib3
methods = [
    http.client.HTTPConnection.putrequest, http.client.HTTPConnection.endheaders, http.client.HTTPConnection.close,
    http.client.HTTPConnection.getresponse, urllib3.HTTPConnectionPool.urlopen, httpcore.ConnectionPool.handle_request,
    httpcore.AsyncConnectionPool.handle_async_request, aiohttp.ClientSession._request,
]
found = [
    [m.__module__, m.__qualname__, m.__doc__, str(inspect.signature(m)), inspect.iscoroutinefunction(m)]
    for m in methods
]
loaders = [type(m.__loader__).__name__ for m in (http.client, urllib3.connectionpool, httpcore, aiohttp.client)]
print(json.dumps([found, loaders, inspect.getsource(aiohttp.client) != ""]))
"""
    assert run_python(code, hooked(spool)) == run_python(code, {})
    assert pipe.lines() == []


@pytest.mark.parametrize("obstacle", ["missing", "no reader", "file", "directory", "link", "foreign"])
def test_function_runs_without_a_usable_pipe(spool: Path, tmp_path: Path, https: CallsServer, obstacle: str) -> None:
    """Without an extension, or with something else at the pipe's path, the function runs and nothing is written."""
    spool.mkdir()
    path = spool / "events"
    target = tmp_path / "target"
    target.write_bytes(b"content")
    # 1. An extension that has ended. 2. to 4. Something else at the path. 5. The FIFO of another user.
    if obstacle in ("no reader", "foreign"):
        os.mkfifo(path, 0o622)
    elif obstacle == "file":
        path.write_bytes(b"content")
    elif obstacle == "directory":
        path.mkdir()
    elif obstacle == "link":
        path.symlink_to(target)
    if obstacle == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another user")
        os.chown(path, 12345, 12345)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK) if obstacle == "foreign" else -1

    assert run_python(CALL, hooked(spool, https.trust), f"{https.url}/x").split() == ["200"]

    assert target.read_bytes() == b"content"
    if obstacle == "file":
        assert path.read_bytes() == b"content"
    if reader >= 0:
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        os.close(reader)


def test_end_of_the_extension_does_not_end_the_function(tmp_path: Path, https: CallsServer) -> None:
    """A function with the default action of SIGPIPE survives writes after the last reader has closed the pipe."""
    code = """
import signal, sys, urllib.request
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
print("ready", flush=True)
sys.stdin.readline()
print(urllib.request.urlopen(sys.argv[1]).status)
"""
    with pipe_reader(tmp_path / "spool"):
        process = subprocess.Popen(
            [sys.executable, "-c", code, f"{https.url}/x"],
            env={**hooked(tmp_path / "spool"), **https.trust},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    output, _ = process.communicate("go\n", timeout=60)

    assert (output, process.returncode) == ("200\n", 0)


def test_hook_is_not_importable_by_the_function(spool: Path, pipe: PipeReader) -> None:
    """The names of the hook's modules are free for the function."""
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('recorder', 'failures', 'event_pipe')])"

    assert run_python(code, hooked(spool)).split() == ["[None,", "None,", "None]"]
    assert {path.name for path in HOOK.iterdir()} - {"__pycache__"} == {"sitecustomize.py", "logferry_hook"}
    assert pipe.lines() == []
