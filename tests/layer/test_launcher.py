"""The launcher: which variables it removes, keeps and sets, and which program it executes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from logferry.layer import elf, programs
from logferry.layer.architecture import ARCHITECTURES, Architecture, native
from logferry.layer.subprocesses import LayerError

SOURCE = Path(__file__).parents[2] / "extension/launcher.c"

SHOW = "import json, os, sys; print(json.dumps([sys.argv, dict(os.environ)]))"

KEPT = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_CA_BUNDLE": "/var/task/ca.pem",
    "AWS_REGION": "eu-central-1",
    "HTTPS_PROXY": "http://proxy:3128",
    "NO_PROXY": "169.254.169.254",
    "LOGFERRY_DESTINATION": "s3://logs/prefix",
    "PATH": "/var/lang/bin:/usr/bin",
    "GREETING": "grüß dich = 1",
    "EMPTY": "",
}
"""Variables that the launcher keeps: AWS's variables and all others that do no known harm."""

REMOVED = {
    "LD_PRELOAD": "/nonexistent.so",
    "LD_LIBRARY_PATH": "/var/lang/lib",
    "PYTHONPATH": "/var/task",
    "PYTHONHASHSEED": "abc",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "MALLOC_ARENA_MAX": "1",
    "OPENSSL_CONF": "/nonexistent",
    "SSL_CERT_FILE": "/nonexistent",
    "NODE_OPTIONS": "--inspect",
    "JAVA_TOOL_OPTIONS": "-javaagent:x",
    "LC_ALL": "de_DE",
    "LANG": "de_DE",
    "TZ": "Asia/Tokyo",
    "TMPDIR": "/nonexistent",
    "HOME": "/root",
    "AWS_PROFILE": "nope",
    "AWS_CONFIG_FILE": "/nonexistent",
}


def _compiled(folder: Path, *, arch: Architecture, interpreter: Path) -> Path:
    target = folder / "launcher"
    programs.build_launcher(SOURCE, interpreter=str(interpreter), arch=arch, to=target)
    return target


def _showing(folder: Path) -> Path:
    """Write a stand-in for the interpreter that prints its arguments and its environment."""
    script = folder / "interpreter"
    script.write_text(f"#!{sys.executable} -IS\n{SHOW}\n")
    script.chmod(0o755)
    return script


def _started(command: list[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    done = subprocess.run(command, check=True, capture_output=True, env=dict(environment))
    arguments, seen = json.loads(done.stdout)
    return arguments, seen


def test_launcher_removes_harmful_variables_and_keeps_all_others(tmp_path: Path) -> None:
    """Only variables with known harm are removed. The others keep their exact bytes."""
    program = _compiled(tmp_path, arch=native(), interpreter=_showing(tmp_path))
    _, seen = _started([str(program)], KEPT | REMOVED)
    assert {name: seen[name] for name in KEPT} == KEPT
    assert not any(seen.get(name) == value for name, value in REMOVED.items())


def test_launcher_sets_variables_against_files_of_the_host(tmp_path: Path) -> None:
    """The interpreter reads no locale, time zone, OpenSSL configuration, CA store or home folder of the image."""
    program = _compiled(tmp_path, arch=native(), interpreter=_showing(tmp_path))
    _, seen = _started([str(program)], {})
    assert seen == {
        "LC_ALL": "C",
        "TZ": "UTC0",
        "HOME": "/opt/logferry",
        "OPENSSL_CONF": "/dev/null",
        "SSL_CERT_FILE": "/dev/null",
        "SSL_CERT_DIR": "/dev/null",
    }


def test_launcher_starts_the_supervisor_in_isolated_mode(tmp_path: Path) -> None:
    """The command line is the one that the supervisor expects. Arguments of the launcher are ignored."""
    program = _compiled(tmp_path, arch=native(), interpreter=_showing(tmp_path))
    arguments, _ = _started([str(program), "ignored"], {})
    assert arguments[1:] == ["-I", "-S", "-B", "-X", "utf8", "/opt/logferry/main.pyc", "/opt/logferry/site"]


def test_launcher_passes_an_environment_of_any_size(tmp_path: Path) -> None:
    """Lambda allows 4 KB of variables. The kernel and the launcher allow much more."""
    many = {f"VARIABLE_{number}": "x" * 50 for number in range(5_000)}
    program = _compiled(tmp_path, arch=native(), interpreter=_showing(tmp_path))
    _, seen = _started([str(program)], many | REMOVED)
    assert {name: value for name, value in seen.items() if name.startswith("VARIABLE_")} == many


def test_launcher_reports_an_interpreter_that_cannot_be_executed(tmp_path: Path) -> None:
    """The probable cause is a layer for another architecture. The message names the cause and the remedy."""
    program = _compiled(tmp_path, arch=native(), interpreter=tmp_path / "nowhere")
    done = subprocess.run([str(program)], check=False, capture_output=True, text=True, env={})
    assert done.returncode == 127
    assert done.stderr.startswith(f"logferry: cannot execute {tmp_path}/nowhere: ")
    assert "rebuild it" in done.stderr


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_launcher_is_small_and_static(tmp_path: Path, arch: Architecture) -> None:
    """It needs no loader and no library, so no code of the host runs before its first instruction."""
    program = _compiled_or_skip(tmp_path, arch)
    read = elf.read(program.read_bytes())
    assert (read.interpreter, read.needed, read.machine) == (None, (), arch.elf_machine)
    assert program.stat().st_size < 16_384


def test_launcher_for_arm64_does_the_same(tmp_path: Path) -> None:
    """Its entry and system calls are other assembly code, which qemu runs here. qemu passes exec to the kernel."""
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("no qemu-aarch64 (package qemu-user-static)")
    program = _compiled_or_skip(tmp_path, ARCHITECTURES["arm64"], interpreter=_showing(tmp_path))
    arguments, seen = _started([qemu, str(program)], KEPT | REMOVED)
    assert arguments[1:6] == ["-I", "-S", "-B", "-X", "utf8"]
    assert {name: seen[name] for name in KEPT} == KEPT
    assert "LD_PRELOAD" not in seen


def _compiled_or_skip(folder: Path, arch: Architecture, interpreter: Path = Path("/nowhere")) -> Path:
    try:
        return _compiled(folder, arch=arch, interpreter=interpreter)
    except LayerError as error:
        if "no C compiler" not in str(error):
            raise
        pytest.skip(str(error))
