"""Compilation of the launcher and of the exec wrapper (`extension/*.c`) for the layer's architecture.

Design: the programs use no C library, so any compiler for the target is sufficient. The compiler
is zig (the wheel `ziglang`) for both architectures, or `cc` of this machine for its own
architecture.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from logferry.layer.architecture import Architecture
from logferry.layer.subprocesses import LayerError, run

_FLAGS = (
    *("-Os", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
)


def build_launcher(source: Path, *, interpreter: str, arch: Architecture, to: Path) -> None:
    """Compile the launcher for an interpreter, which is named by its path on Lambda.

    Raises LayerError if no compiler is installed, or if it rejects the source.
    """
    _compile(source, f'-DPYTHON="{interpreter}"', arch=arch, to=to)


def build_exec_wrapper(source: Path, *, arch: Architecture, to: Path) -> None:
    """Compile the exec wrapper. Raises LayerError if no compiler is installed, or if it rejects the source."""
    _compile(source, arch=arch, to=to)


def _compile(source: Path, *options: str, arch: Architecture, to: Path) -> None:
    command = [*_compiler(arch), *_FLAGS, *options, str(source), "-o", str(to)]
    run(command, purpose=f"compiling {source.name} for {arch.name}")
    to.chmod(0o755)


def _compiler(arch: Architecture) -> list[str]:
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{arch.gnu}-linux-none"]
    compiler = shutil.which("cc") if arch.is_native else None
    if compiler is None:
        raise LayerError(f"no C compiler for {arch.name} is installed; install zig with: pip install 'logferry[layer]'")
    return [compiler, "-Wl,--build-id=none"]
