"""The exec wrapper: what it adds to the environment, which program it executes, and its messages."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from logferry.layer import elf
from logferry.layer.architecture import ARCHITECTURES, Architecture
from support.exec_wrapper import add_hooks, compile_wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST_VARIABLE = 128 * 1024
"""Limit of one variable with its name and its end, in bytes (execve(2), MAX_ARG_STRLEN)."""
HOOKED = {"LOGFERRY_CALLS": "each"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an `/opt` with the wrapper and both hooks."""
    opt = tmp_path_factory.mktemp("opt")
    compile_wrapper(opt)
    add_hooks(opt)
    return opt


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Return a program that prints its arguments and its environment as JSON."""
    return program(tmp_path / "show")


def program(path: Path, *, shebang: str = f"{sys.executable} -IS") -> Path:
    """Write an executable script that prints its arguments and its environment."""
    code = "import json, os, sys; print(json.dumps([sys.argv, dict(os.environ)]))"
    path.write_text(f"#!{shebang}\n{code}\n")
    path.chmod(0o755)
    return path


def executed(command: list[str | Path], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Run a command; return the arguments and the environment that the program printed."""
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, env=dict(environment))
    assert done.stderr == b""
    arguments, seen = json.loads(done.stdout)
    seen.pop("LC_CTYPE", None)  # set by the interpreter of the program (PEP 538)
    return arguments, seen


def failed(command: list[str | Path], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command that fails; return its status and its only message."""
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, env=dict(environment))
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


@pytest.mark.parametrize("mode", [None, "", "off", "eachx", "summar", "each summary"])
def test_wrapper_only_executes_the_program_without_calls(shared: Path, show: Path, mode: str | None) -> None:
    """An absent, disabled or invalid LOGFERRY_CALLS leaves arguments and environment as they are."""
    given = {"NODE_OPTIONS": "--inspect", "PYTHONPATH": "", "EMPTY": "", "GREETING": "grüß dich = 1"}
    given |= {} if mode is None else {"LOGFERRY_CALLS": mode}
    words = ["an argument", "", 'quotes " and \\', "$(touch x)"]
    assert executed([shared / "logferry-wrap", show, *words], given) == ([str(show), *words], given)


@pytest.mark.parametrize("mode", ["each", "summary", " Each\t", "SUMMARY"])
def test_wrapper_adds_both_hooks(shared: Path, show: Path, mode: str) -> None:
    """The value is read as the parser of the settings reads it: blanks and case do not matter."""
    _, seen = executed([shared / "logferry-wrap", show], {"LOGFERRY_CALLS": mode})
    assert seen == {
        "LOGFERRY_CALLS": mode,
        "NODE_OPTIONS": f"--require {shared}/logferry/hooks/node.cjs",
        "PYTHONPATH": f"{shared}/logferry/hooks/python",
    }


def test_wrapper_keeps_the_values_of_the_function_first_and_last(shared: Path, show: Path) -> None:
    """Options of the function precede the hook in NODE_OPTIONS, and follow it in PYTHONPATH."""
    given = {"NODE_OPTIONS": '--require "/var/task/a b.js"', "PYTHONPATH": "/var/task:/opt/python", **HOOKED}
    _, seen = executed([shared / "logferry-wrap", show], given)
    assert seen["NODE_OPTIONS"] == f'--require "/var/task/a b.js" --require {shared}/logferry/hooks/node.cjs'
    assert seen["PYTHONPATH"] == f"{shared}/logferry/hooks/python:/var/task:/opt/python"


def test_wrapper_distinguishes_an_empty_python_path_from_an_absent_one(shared: Path, show: Path) -> None:
    """The hook restores PYTHONPATH: absent without a colon, else the text after the colon."""
    _, seen = executed([shared / "logferry-wrap", show], {"PYTHONPATH": "", "NODE_OPTIONS": "", **HOOKED})
    assert seen["PYTHONPATH"] == f"{shared}/logferry/hooks/python:"
    assert seen["NODE_OPTIONS"] == f"--require {shared}/logferry/hooks/node.cjs"


def test_wrapper_quotes_its_path_for_node(tmp_path: Path, show: Path) -> None:
    """Blanks, quotes and backslashes in a path are quoted as NODE_OPTIONS requires. Node.js finds the hook there."""
    opt = tmp_path / 'a b"c\\d'
    compile_wrapper(opt)
    add_hooks(opt)
    _, seen = executed([opt / "logferry-wrap", show], HOOKED)
    assert seen["NODE_OPTIONS"] == f'--require "{tmp_path}/a b\\"c\\\\d/logferry/hooks/node.cjs"'
    if (node := shutil.which("node")) is None:
        pytest.skip("no node")
    loaded = "console.log(Object.keys(require.cache).some((name) => name.endsWith('node.cjs')))"
    command = [str(opt / "logferry-wrap"), node, "-e", loaded]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=HOOKED)
    assert done.stdout == "true\n"


def test_wrapper_without_hooks_executes_the_program(tmp_path: Path, show: Path) -> None:
    """Node.js would end at a missing file, so each hook is added only if it exists."""
    wrapper = compile_wrapper(tmp_path / "opt")
    assert executed([wrapper, show], HOOKED)[1] == HOOKED
    add_hooks(tmp_path / "opt")
    (tmp_path / "opt/logferry/hooks/node.cjs").unlink()
    assert set(executed([wrapper, show], HOOKED)[1]) == {"LOGFERRY_CALLS", "PYTHONPATH"}


def test_wrapper_omits_hooks_that_make_a_variable_too_large(shared: Path, show: Path) -> None:
    """The kernel limits a variable to 128 KiB. The program then starts with the original environment."""
    given = {"NODE_OPTIONS": "x" * (LARGEST_VARIABLE - len("NODE_OPTIONS=") - 1), **HOOKED}
    assert executed([shared / "logferry-wrap", show], given)[1] == given


def test_wrapper_passes_an_environment_of_any_size(shared: Path, show: Path) -> None:
    """Lambda allows 4 KB of variables. The kernel and the wrapper allow much more."""
    many = {f"VARIABLE_{number}": "x" * 50 for number in range(5_000)}
    _, seen = executed([shared / "logferry-wrap", show], many | HOOKED)
    assert many.items() <= seen.items()


def test_wrapper_executes_the_next_wrapper_with_the_remaining_arguments(
    shared: Path, show: Path, tmp_path: Path
) -> None:
    """The next wrapper has the hooks in its environment, and its own path as first argument."""
    another = program(tmp_path / "another wrapper")
    given = {"LOGFERRY_NEXT_WRAPPER": str(another), **HOOKED}
    arguments, seen = executed([shared / "logferry-wrap", show, "x y"], given)
    assert arguments == [str(another), str(show), "x y"]
    assert set(seen) == {"LOGFERRY_CALLS", "NODE_OPTIONS", "PYTHONPATH"}


def test_wrapper_that_is_its_own_next_wrapper_ends(shared: Path, show: Path) -> None:
    """LOGFERRY_NEXT_WRAPPER is removed, so the wrapper executes itself at most once."""
    wrapper = shared / "logferry-wrap"
    assert executed([wrapper, show], {"LOGFERRY_NEXT_WRAPPER": str(wrapper)}) == ([str(show)], {})


def test_wrapper_ignores_an_empty_next_wrapper(shared: Path, show: Path) -> None:
    """Templates set variables to an empty text to disable them."""
    assert executed([shared / "logferry-wrap", show], {"LOGFERRY_NEXT_WRAPPER": ""}) == ([str(show)], {})


def test_wrapper_searches_a_program_on_the_path(shared: Path, show: Path, tmp_path: Path) -> None:
    """Folders that are missing, that are files, or that contain no executable file of the name are skipped."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first/show").write_text("not executable")
    given = {"PATH": f"{tmp_path}/absent:{show}:{tmp_path}/first:{tmp_path}"}
    arguments, _ = executed([shared / "logferry-wrap", "show", "x"], given)
    assert arguments == [str(show), "x"]  # the kernel passes a script's path to its interpreter


def test_wrapper_keeps_the_process_and_its_status(shared: Path) -> None:
    """The runtime replaces the wrapper: signals reach it, and its status is the status of the process."""
    command = [str(shared / "logferry-wrap"), "/bin/sh", "-c", "trap 'exit 7' TERM; echo $$; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 7


def test_wrapper_reports_a_missing_command(shared: Path) -> None:
    """The wrapper alone has nothing to execute. The message names both places of the command."""
    status, message = failed([shared / "logferry-wrap"], {})
    assert status == 127
    assert "AWS_LAMBDA_EXEC_WRAPPER" in message
    assert "ENTRYPOINT" in message


@pytest.mark.parametrize(
    ("content", "mode", "failure"),
    [
        (None, 0, (127, "does not exist")),
        (b"#!/absent/interpreter\n", 0o755, (127, "its interpreter does not exist")),
        (b"#!/bin/sh\n", 0o644, (126, "it is not an executable file")),
        (b"no program", 0o755, (126, "neither a script that begins with #! nor a program for this architecture")),
    ],
)
def test_wrapper_reports_a_program_that_cannot_be_executed(
    shared: Path, tmp_path: Path, content: bytes | None, mode: int, failure: tuple[int, str]
) -> None:
    """The status is that of a shell. One message names the variable, the reason and the remedy."""
    status, reason = failure
    broken = tmp_path / "broken"
    if content is not None:
        broken.write_bytes(content)
        broken.chmod(mode)
    found, message = failed([shared / "logferry-wrap", "/bin/true"], {"LOGFERRY_NEXT_WRAPPER": str(broken)})
    assert found == status
    assert message.startswith(f"logferry-wrap: cannot execute {broken}, the value of LOGFERRY_NEXT_WRAPPER: ")
    assert reason in message
    assert "correct this variable, or remove it" in message
    found, message = failed([shared / "logferry-wrap", broken], HOOKED)
    assert found == status
    assert reason in message
    assert "AWS_LAMBDA_EXEC_WRAPPER" in message


def test_wrapper_reports_a_program_that_is_not_on_the_path(shared: Path, tmp_path: Path) -> None:
    """A file without permission counts more than a missing one, as in a shell."""
    assert failed([shared / "logferry-wrap", "absent"], {"PATH": str(tmp_path)})[0] == 127
    (tmp_path / "absent").touch()
    assert failed([shared / "logferry-wrap", "absent"], {"PATH": f"/nowhere:{tmp_path}:"})[0] == 126


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_wrapper_is_small_and_static(tmp_path: Path, arch: Architecture) -> None:
    """It needs no loader and no library, so no code of the host runs before its first instruction."""
    wrapper = compile_wrapper(tmp_path, arch=arch)
    read = elf.read(wrapper.read_bytes())
    assert (read.interpreter, read.needed, read.machine) == (None, (), arch.elf_machine)
    assert wrapper.stat().st_size < 16_384


def test_wrapper_for_arm64_does_the_same(tmp_path: Path, show: Path) -> None:
    """Its entry and system calls are other assembly code, which qemu runs here. qemu passes exec to the kernel."""
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("no qemu-aarch64 (package qemu-user-static)")
    opt = tmp_path / "opt"
    wrapper = compile_wrapper(opt, arch=ARCHITECTURES["arm64"])
    add_hooks(opt)
    arguments, seen = executed([qemu, wrapper, show, "x y"], {"PYTHONPATH": "", **HOOKED})
    assert arguments == [str(show), "x y"]
    assert seen["NODE_OPTIONS"] == f"--require {opt}/logferry/hooks/node.cjs"
    assert seen["PYTHONPATH"] == f"{opt}/logferry/hooks/python:"
    assert failed([qemu, wrapper, tmp_path / "absent"], {})[0] == 127
    next_wrapper = {"LOGFERRY_NEXT_WRAPPER": str(show)}
    assert executed([qemu, wrapper, "x"], next_wrapper)[0] == [str(show), "x"]
