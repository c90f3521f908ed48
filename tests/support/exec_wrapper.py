"""An `/opt` in a temporary folder with the exec wrapper and the hooks of the checkout."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from logferry.layer import checks, inputs, programs
from logferry.layer.architecture import native
from logferry.layer.subprocesses import LayerError

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.layer.architecture import Architecture

NODE_HOOK = inputs.CHECKOUT / inputs.HOOKS / "node.cjs"


def compile_wrapper(opt: Path, *, arch: Architecture | None = None) -> Path:
    """Compile the exec wrapper into a folder, and return its path; skip the test without a compiler."""
    opt.mkdir(parents=True, exist_ok=True)
    wrapper = opt / checks.EXEC_WRAPPER
    try:
        programs.build_exec_wrapper(inputs.CHECKOUT / inputs.EXEC_WRAPPER, arch=arch or native(), to=wrapper)
    except LayerError as error:
        if "no C compiler" not in str(error):
            raise
        pytest.skip(str(error))
    return wrapper


def add_hooks(opt: Path) -> None:
    """Copy the hooks into a folder. The folder of the Python hook exists even if it is empty."""
    shutil.copytree(inputs.CHECKOUT / inputs.HOOKS, opt / checks.HOOKS)
    (opt / checks.HOOKS / "python").mkdir(exist_ok=True)
