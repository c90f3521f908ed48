"""The house: which way imports run, what is pure, and who may look at the environment, the clock and the disk.

The river: records flow listener -> journal -> policy -> encode -> sink; imports run the same way or towards the plain
vocabulary, and acknowledgement comes back as a return value. Read from the source, so that a lazy import counts too.
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

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(logferry.__file__).parent
EXTENSION = sorted(
    path for path in SOURCE.rglob("*.py") if not {"emulator", "cli", "layer"} & set(path.relative_to(SOURCE).parts)
)
EVERYTHING = sorted(SOURCE.rglob("*.py"))
VOCABULARY = {"errors", "deadline", "wire", "event"}
"""What anybody may import: values, errors and messages."""

MAY_IMPORT: dict[str, set[str]] = {
    "boot": {"supervisor"},
    "supervisor": {"wire", "child"},
    "child": {"wire", "app"},
    "wire": set(),
    "errors": set(),
    "deadline": set(),
    "event": {"wire", "deadline"},
    "messages": set(),
    "repeats": set(),
    "door": set(),
    "own": set(),
    "breaker": set(),
    "policy": set(),
    "plain": set(),
    "named": {"plain"},
    "telemetry": {"own", "plain"},
    "attribution": {"named", "telemetry"},
    "invocations": {"attribution", "telemetry"},
    "journal.frame": {"own"},
    "journal.segment": {"errors", "own", "journal.frame"},
    "journal.losses": {"own", "journal.frame", "journal.segment"},
    "journal.memory": {"errors", "journal.segment"},
    "journal.sibling": {"errors", "journal.losses", "journal.segment"},
    "journal.recovery": {"errors", "journal.frame", "journal.losses", "journal.segment"},
    "journal.backlog": {"errors", "journal.losses", "journal.memory", "journal.segment"},
    "journal.journal": {
        "errors",
        "journal.backlog",
        "journal.frame",
        "journal.losses",
        "journal.segment",
        "journal.memory",
        "journal.recovery",
        "journal.sibling",
    },
    "accumulator": {"errors", "policy", "invocations", "repeats", "journal.journal", "journal.segment"},
    "encode": {"attribution", "telemetry", "plain", "named", "journal.segment"},
    "sink.connections": set(),
    "sink.signed": {"sink.connections"},
    "sink.s3": {"errors", "encode", "sink.connections", "sink.signed"},
    "sink.directory": {"errors", "encode"},
    "uploader": {"errors", "deadline", "breaker", "encode", "journal.journal", "journal.segment"},
    "exchange": {"errors"},
    "listener": {"exchange"},
    "doorman": {"wire", "exchange"},
    "absent": set(),
    "pause": set(),
    "warmup": {"pause"},
    "early": {"event", "accumulator", "pause"},
    "shipper": {"wire", "event", "deadline", "policy", "accumulator", "uploader"},
    "settings": {"errors", "policy", "encode"},
}
"""Each room and what it may know of. A new room is entered here, with a thought."""

PURE = (
    "plain",
    "named",
    "telemetry",
    "policy",
    "encode",
    "breaker",
    "deadline",
    "invocations",
    "repeats",
    "door",
    "exchange",
    "own",
    "journal.frame",
    "errors",
)
"""They decide and hold; time and bytes come in as arguments."""
IMPURE_MODULES = {"asyncio", "os", "socket", "_socket", "posix", "time", "select", "threading", "subprocess", "pathlib"}
BARE = {"_socket", "posix", "select", "sys", "time"}
HEAVY_AND_FOREIGN = {"typer", "rich", "click"}
STRUCTURE = {"", "journal", "sink"}


def name_of(path: Path) -> str:
    """Give a module's name inside the package."""
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
    """Whether that is a module of ours, not a name in one."""
    if not name.startswith("logferry."):
        return False
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ours(found: set[str]) -> set[str]:
    """Give the package's own modules among these, without its name."""
    return {one.removeprefix("logferry").lstrip(".") for one in found if one.split(".")[0] == "logferry"}


def calls(path: Path) -> Iterator[str]:
    """Give every dotted name that a file's code mentions, such as `os.environ` or `time.time`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", EXTENSION, ids=name_of)
def test_imports_run_down_the_river(path: Path) -> None:
    """A room knows only what the table says: what comes before it, and the vocabulary."""
    name = name_of(path)
    if name in STRUCTURE or name == "app":
        return
    assert name in MAY_IMPORT, "a new room: enter it into the table"
    assert ours(imports(path)) <= MAY_IMPORT[name]


def test_only_app_knows_settings_and_concrete_sinks() -> None:
    """Settings stop at the wiring, and nobody else chooses a destination."""
    for path in EXTENSION:
        if name_of(path) != "app":
            assert not ours(imports(path)) & {"settings", "sink.s3", "sink.directory"}, name_of(path)


def test_no_two_rooms_import_each_other() -> None:
    """Neither directly nor by way of others; what only a type checker reads is part of the picture."""
    graph = {name_of(path): ours(imports(path)) - {""} for path in EVERYTHING}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        for target in graph.get(name, set()):
            visit(target, (*path, name))

    for name in (n for n in graph if n.split(".")[0] not in {"emulator", "cli", "layer"}):
        visit(name, ())


@pytest.mark.parametrize("name", PURE)
def test_a_pure_room_has_neither_clock_nor_disk_nor_network(name: str) -> None:
    """What it says depends on what it is given."""
    path = SOURCE.joinpath(*name.split(".")).with_suffix(".py")
    found = imports(path, typing_too=False) & IMPURE_MODULES
    allowed = {"os"} if name == "journal.frame" else set()  # the size of the file it is given to read
    assert found <= allowed


def test_a_segments_time_is_only_written_never_asked() -> None:
    """`encode` formats dates with it; a clock there would make each upload another object."""
    path = SOURCE / "journal" / "segment.py"
    assert {call for call in calls(path) if call.startswith("time.")} <= {"time.strftime", "time.gmtime"}


@pytest.mark.parametrize("name", ["supervisor", "child", "wire"])
def test_the_serial_part_of_a_cold_start_imports_next_to_nothing(name: str) -> None:
    """Each module costs every customer's first invocation. The child's own imports are behind the fork."""
    tree = ast.parse((SOURCE / f"{name}.py").read_text())
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
    assert found <= BARE | {"logferry", "logferry.supervisor.http", "logferry.supervisor.shipper_process"}
    lazy = imports(SOURCE / f"{name}.py") - found
    assert lazy <= ({"logferry.shipper.main", "gc", "traceback"} if name == "child" else set()) | {
        "logferry.supervisor.http",
        "logferry.supervisor.shipper_process",
    }


ALLOWED_MODULES = {
    *("__main__", "_abc", "_codecs", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_io", "_signal"),
    *("_socket", "_thread", "_warnings", "_weakref", "abc", "builtins", "codecs", "encodings", "encodings.aliases"),
    *("encodings.utf_8", "io", "marshal", "posix", "select", "sys", "time", "zipimport"),
    *("logferry", "logferry.supervisor.shipper_process", "logferry.supervisor.supervisor", "logferry.supervisor.http"),
}
"""What a bare interpreter holds by itself, and ours. `encodings.ascii` and the like would be a file each."""

SPY = """
import sys
sys.path.extend({folders!r})
from logferry import child, supervisor
class NoChild:
    fileno = lambda self: -1
child.Child.start = classmethod(lambda cls, **k: None)
real = supervisor.Supervisor._next_event
def spy(self):
    import posix
    posix.write(1, "\\n".join(sorted(sys.modules)).encode() + b"\\n")
    posix._exit(0)
supervisor.Supervisor._next_event = spy
supervisor.main()
"""


def test_at_the_first_next_a_bare_interpreter_holds_a_bounded_set_of_modules() -> None:
    """Shown by the process itself: registered, subscribed, and about to ask for its first event."""
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
            [sys.executable, "-I", "-S", "-c", SPY.format(folders=[str(SOURCE.parent)])],
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


NOT_BEFORE_THE_DOORMAN = {"asyncio", "dataclasses", "inspect", "difflib", "logging", "ssl", "aiohttp", "structlog"}


def test_what_answers_the_first_deliveries_imports_little() -> None:
    """Until the thread of low priority runs, the function's init shares its core with us at full priority."""
    folders = [str(SOURCE.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    look = f"import sys; sys.path += {folders!r}; import logferry.shipper.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    assert not set(done.stdout.split()) & NOT_BEFORE_THE_DOORMAN


READS_ENVIRON = {"supervisor", "app"}
READS_THE_WALL_CLOCK = {"supervisor", "app", "early", "shipper"}
TOUCHES_THE_DISK = {
    "journal.backlog",
    "journal.journal",
    "journal.losses",
    "journal.recovery",
    "journal.segment",
    "journal.sibling",
    "sink.directory",
    "supervisor",
}
"""The supervisor keeps the path of its subscription beside the segments; records are the journal's alone."""


@pytest.mark.parametrize("path", EXTENSION, ids=name_of)
def test_the_environment_the_clock_and_the_disk_are_touched_where_they_may_be(path: Path) -> None:
    """A setting is read in one place; a date enters in one room; records lie in one directory."""
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


def test_nothing_asks_the_disk_to_wait() -> None:
    """The page cache outlives a process, and the machine takes /tmp with it: fsync would buy nothing."""
    for path in EXTENSION:
        assert not {c for c in calls(path) if c.split(".")[-1] in ("fsync", "fdatasync", "sync")}, name_of(path)


def test_the_emulator_is_an_island() -> None:
    """Code shared with the client would share its mistakes."""
    for path in sorted((SOURCE / "emulator").rglob("*.py")):
        assert all(one.split(".")[0] == "emulator" for one in ours(imports(path)) - {""}), name_of(path)


def test_nothing_in_the_extension_imports_what_is_for_people() -> None:
    """The command line, the emulator and the layer's build stay out of the customer's function."""
    for path in EXTENSION:
        found = imports(path)
        assert not {one.split(".")[0] for one in ours(found)} & {"emulator", "cli", "layer"}, name_of(path)
        assert not {one.split(".")[0] for one in found} & HEAVY_AND_FOREIGN, name_of(path)


def test_every_file_opens_with_what_it_promises() -> None:
    """A header is the design document; an empty `__init__` has nothing to promise."""
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
