"""The launcher, compiled from `extension/launcher.c` for the layer's architecture.

It has no C library, so any compiler that can make code for the target will do: zig (the `ziglang` wheel, for both
architectures), or this machine's own `cc` for its own architecture.
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


def build(source: Path, *, interpreter: str, arch: Architecture, to: Path) -> None:
    """Compile the launcher of an interpreter, named by its path on Lambda, for an architecture.

    Raises LayerError when there is no compiler, or it refuses the source.
    """
    command = [*_compiler(arch), *_FLAGS, f'-DPYTHON="{interpreter}"', str(source), "-o", str(to)]
    run(command, purpose=f"compiling the launcher for {arch.name}")
    to.chmod(0o755)


def _compiler(arch: Architecture) -> list[str]:
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{arch.gnu}-linux-none"]
    compiler = shutil.which("cc") if arch.is_native else None
    if compiler is None:
        raise LayerError(
            f"there is no C compiler for {arch.name}: pip install 'logferry[layer]' brings zig, which has both"
        )
    return [compiler, "-Wl,--build-id=none"]
