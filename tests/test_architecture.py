"""Structure of the package: import direction, purity, and access to environment, clock and disk.

The rules are read from the source, so a lazy import counts as well.
"""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logferry
from support.import_rules import MAY_IMPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(logferry.__file__).parent
NOT_IN_THE_LAYER = {"emulator", "cli", "layer"}
"""Packages that never enter the layer."""
EXTENSION = sorted(path for path in SOURCE.rglob("*.py") if not NOT_IN_THE_LAYER & set(path.relative_to(SOURCE).parts))
EVERYTHING = sorted(SOURCE.rglob("*.py"))

COMPOSITION_ROOT = {"shipper.main", "shipper.event_loop", "shipper.upload_target"}
"""The second module builds the components that need an event loop, the third chooses the sink."""
PURE_PACKAGES = ("records",)
PURE_MODULES = (
    *("deadline", "destination", "errors", "ipc", "values"),
    *("flush.circuit_breaker", "flush.failover", "flush.policy"),
    *("flush.upload_limits", "journal.frame"),
    *("toml_settings", "references.errors", "references.grammar", "references.services"),
    *("instrumentation.event_attribution", "instrumentation.event_line", "instrumentation.event_losses"),
    *("instrumentation.invocation_summary", "instrumentation.proc_files", "instrumentation.usage"),
    *("listener.admission", "listener.dedup", "listener.http_protocol", "listener.path_token", "listener.refusals"),
)
"""Modules that decide and hold state; time and bytes are arguments."""
IMPURE_MODULES = {"asyncio", "os", "socket", "_socket", "posix", "time", "select", "threading", "subprocess", "pathlib"}
BARE = {"_socket", "posix", "select", "sys", "time"}
HEAVY_AND_FOREIGN = {"typer", "rich", "click"}


def name_of(path: Path) -> str:
    """Return the name of a module inside the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, typing_too: bool = True) -> set[str]:
    """Give every module that a file imports, lazily or not; with `typing_too` also those only a type checker reads."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {one for one in inner if module_exists(one)}
            found |= modules or {node.module}
    return found


def module_exists(name: str) -> bool:
    """Return whether a name is a module of the package, not a name in a module."""
    if not name.startswith("logferry."):
        return False
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ours(found: set[str]) -> set[str]:
    """Return the modules of the package among these, without the name of the package."""
    return {one.removeprefix("logferry").lstrip(".") for one in found if one.split(".")[0] == "logferry"}


def calls(path: Path) -> Iterator[str]:
    """Yield every dotted name in the code of a file, such as `os.environ` or `time.time`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def package_of(name: str) -> str:
    """Return the first part of a module's name inside the package."""
    return name.split(".", maxsplit=1)[0]


def is_allowed(name: str, target: str) -> bool:
    """Return whether module `name` may import module `target`."""
    allowed = MAY_IMPORT.get(package_of(name), set())
    return package_of(target) == package_of(name) or package_of(target) in allowed or target in allowed or target == ""


@pytest.mark.parametrize("path", EXTENSION, ids=name_of)
def test_imports_follow_the_rules(path: Path) -> None:
    """A package imports only the packages below it."""
    name = name_of(path)
    assert not [target for target in ours(imports(path)) if not is_allowed(name, target)]


def test_only_the_composition_root_imports_settings_and_chooses_a_sink() -> None:
    """Settings stop at the wiring, and no other module chooses a destination."""
    for path in EXTENSION:
        if name_of(path) not in COMPOSITION_ROOT | {"settings"} and package_of(name_of(path)) != "sinks":
            found = ours(imports(path))
            assert not {one for one in found if one == "settings" or one.startswith("sinks.s3")}, name_of(path)
            assert "sinks.directory" not in found, name_of(path)


def test_no_modules_import_each_other() -> None:
    """Import cycles exist nowhere: direct or indirect, in the extension, cli, emulator or layer, or for types only."""
    graph = {name_of(path): ours(imports(path)) - {""} for path in EVERYTHING}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in graph.get(name, set()):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_emulator_imports_nothing_of_the_extension() -> None:
    """A fault in shared code would hide the same fault of the extension under test."""
    for path in sorted((SOURCE / "emulator").rglob("*.py")):
        assert {package_of(one) for one in ours(imports(path)) - {""}} <= {"emulator"}, name_of(path)


@pytest.mark.parametrize("path", [path for path in EXTENSION if name_of(path)], ids=name_of)
def test_a_pure_module_imports_neither_clock_nor_disk_nor_network(path: Path) -> None:
    """The result of a pure module depends on its arguments alone."""
    name = name_of(path)
    if package_of(name) not in PURE_PACKAGES and name not in PURE_MODULES:
        return
    # Two exceptions: the size of the file that `frame` reads, and the formatting of a given time in `model`.
    allowed = {"journal.frame": {"os"}, "records.model": {"time"}}.get(name, set())
    assert imports(path, typing_too=False) & IMPURE_MODULES <= allowed


def test_the_record_model_formats_a_time_and_never_reads_the_clock() -> None:
    """A clock in the encoder would make each upload another object."""
    path = SOURCE / "records" / "model.py"
    assert {call for call in calls(path) if call.startswith("time.")} <= {"time.strftime", "time.gmtime"}


SERIAL = {
    "config_file",
    "ipc",
    "values",
    *(name_of(path) for path in (SOURCE / "supervisor").glob("*.py") if path.stem != "boot"),
}
"""Modules on the serial part of a cold start. `boot` is the script that the launcher runs."""
LAZY = {"config_file", "supervisor.event_pipe"}
"""Modules that follow the same rules, and are imported only if a setting needs them."""
LAZY_IMPORTS = {
    "supervisor.shipper_process": {"logferry.shipper.main", "gc", "traceback"},
    "config_file": {"tomllib", "logferry.toml_settings", "difflib", "re"},
}
"""Imports inside functions: after the fork, or for a file with settings of the supervisor and for mistakes."""
SERIAL_MODULES_AT_MOST = 9
"""Modules of ours, with the two `__init__` files. Each one costs every cold start about 0.1 ms."""


@pytest.mark.parametrize("name", sorted(SERIAL))
def test_the_serial_part_of_a_cold_start_imports_only_builtin_modules(name: str) -> None:
    """Each further module costs every cold start. The shipper's imports come after the fork."""
    path = SOURCE.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text())
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
    assert {one for one in found if not one.startswith("logferry")} <= BARE
    serial = ("logferry.supervisor", "logferry.config_file", "logferry.ipc", "logferry.values")
    lazy = {one for one in imports(path, typing_too=False) - found if not one.startswith(serial)}
    assert lazy <= LAZY_IMPORTS.get(name, set())


def test_the_serial_part_of_a_cold_start_stays_small() -> None:
    """The supervisor's package grows only with a measurement of the cold start."""
    assert len(SERIAL - LAZY) + 1 <= SERIAL_MODULES_AT_MOST


ALLOWED_MODULES = {
    *("__main__", "_abc", "_codecs", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_io", "_signal"),
    *("_socket", "_thread", "_warnings", "_weakref", "abc", "builtins", "codecs", "encodings", "encodings.aliases"),
    *("encodings.utf_8", "io", "marshal", "posix", "select", "sys", "time", "zipimport"),
    *("logferry", *(f"logferry.{name}" for name in SERIAL - LAZY)),
}
"""Modules of a bare interpreter, and ours. `encodings.ascii` and the like would be a file each."""

PRINT_MODULES_AT_FIRST_NEXT = """
import sys
sys.path.extend({folders!r})
from logferry.supervisor import supervisor
def print_modules(self):
    import posix
    posix.write(1, "\\n".join(sorted(sys.modules)).encode() + b"\\n")
    posix._exit(0)
supervisor.Supervisor._next_event = print_modules
supervisor.main()
"""


def test_at_the_first_next_a_bare_interpreter_holds_a_bounded_set_of_modules(tmp_path: Path) -> None:
    """The process prints its modules after it has registered and subscribed, before it requests its first event."""
    script = tmp_path / "script.py"  # Python 3.13 imports another module for code in `-c`
    script.write_text(PRINT_MODULES_AT_FIRST_NEXT.format(folders=[str(SOURCE.parent)]))
    answer = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: x\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                while connection.recv(65536):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(script)],
            env={"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}", "LOGFERRY_PORT": "0"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        thread.join(20)
    assert done.returncode == 0, done.stderr
    extra = set(done.stdout.split()) - ALLOWED_MODULES
    assert not extra, sorted(extra)
    assert "logferry.supervisor.shipper_process" not in done.stdout.split(), "it is imported for the fork, not before"


NOT_BEFORE_THE_BOOTSTRAP_SERVER = {
    *("asyncio", "dataclasses", "inspect", "difflib", "logging", "ssl", "aiohttp", "structlog"),
}
"""Modules that the shipper imports only while its bootstrap server already stores batches."""


def test_the_shipper_imports_no_large_module_before_the_bootstrap_server_listens() -> None:
    """Until the bootstrap server runs, these imports compete with the Init phase of the function for one core."""
    folders = [str(SOURCE.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    look = f"import sys; sys.path += {folders!r}; import logferry.shipper.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    assert not set(done.stdout.split()) & NOT_BEFORE_THE_BOOTSTRAP_SERVER


READS_ENVIRON = {"supervisor.supervisor", "shipper.main", "sinks.s3.sdk", "sinks.s3.sdk_session"}
READS_THE_WALL_CLOCK = {
    *("supervisor.supervisor", "shipper.main", "shipper.event_queue", "shipper.lifecycle"),
    *("shipper.event_collection", "supervisor.event_pipe"),
    *("references.resolver", "references.service_client", "shipper.deferred_target"),
    *("aws.assumed_role", "aws.credentials", "http_client.client", "http_client.connection", "sinks.s3.sink"),
    *("sinks.firehose.sink", "sinks.https.sink", "sinks.s3.sdk_errors"),
}
"""Deadlines of the platform, signatures and credentials have dates; a freeze shows only on the wall clock."""
TOUCHES_THE_DISK = {
    *("journal.backlog", "journal.journal", "journal.losses", "journal.orphans", "journal.recovery", "journal.segment"),
    *("journal.stored_failures", "instrumentation.runtime_processes", "instrumentation.usage_sampler"),
    *("sinks.directory", "supervisor.endpoint", "supervisor.event_pipe"),
}
"""The supervisor stores the path of its subscription and makes a pipe in the spool. Only the journal stores records.

The modules of `instrumentation` only read."""


@pytest.mark.parametrize("path", EXTENSION, ids=name_of)
def test_only_listed_modules_use_the_environment_the_wall_clock_and_the_disk(path: Path) -> None:
    """Only the listed modules read the environment or the wall clock, or write to the disk."""
    name, found = name_of(path), set(calls(path))
    if any(re.fullmatch(r"(os|posix)\.(environ|environb|getenv)(\..*)?", call) for call in found):
        assert name in READS_ENVIRON
    if found & {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}:
        assert name in READS_THE_WALL_CLOCK
    writes = {
        c
        for c in found
        if re.search(r"\.(write_bytes|write_text|unlink|rename|mkdir|rmdir|touch|truncate|ftruncate)$", c)
    }
    if writes or "os.open" in found:
        assert name in TOUCHES_THE_DISK, writes


def test_no_module_of_the_extension_calls_fsync() -> None:
    """The page cache survives a killed process, and /tmp is lost together with the machine, so fsync has no benefit."""
    for path in EXTENSION:
        assert not {c for c in calls(path) if c.split(".")[-1] in ("fsync", "fdatasync", "sync")}, name_of(path)


def test_the_extension_imports_neither_cli_nor_emulator_nor_layer() -> None:
    """The layer contains neither the command line nor the emulator nor the build of the layer."""
    for path in EXTENSION:
        found = imports(path)
        assert not {one.split(".")[0] for one in ours(found)} & NOT_IN_THE_LAYER, name_of(path)
        assert not {one.split(".")[0] for one in found} & HEAVY_AND_FOREIGN, name_of(path)


def test_every_module_has_a_docstring() -> None:
    """The header is the design document of a module; only an empty file has none."""
    for path in EVERYTHING:
        if path.stat().st_size:
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_importing_the_package_imports_nothing() -> None:
    """`import logferry` is on the serial part of every cold start."""
    look = (
        f"import sys; sys.path.append({str(SOURCE.parent)!r}); before = set(sys.modules)\n"
        "import logferry; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env={"PATH": os.defpath},
    )
    assert done.stdout == "['logferry']\n"
