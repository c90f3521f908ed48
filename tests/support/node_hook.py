"""Shared parts of the tests of the Node.js hook: its variables, scripts and functions that run with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import logferry.emulator.samples
from logferry.layer import inputs
from support.npm_packages import node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOOK = inputs.CHECKOUT / inputs.HOOKS / "node.cjs"
FUNCTIONS = Path(__file__).parent / "functions"
RUNTIME = Path(logferry.emulator.samples.__file__).parent / "runtime.mjs"
RUN_SECONDS = 60.0


def hooked(spool: Path, settings: Mapping[str, str] | None = None, *, hook: Path = HOOK) -> dict[str, str]:
    """Return the variables of a Node.js process with the hook."""
    required = {"LOGFERRY_CALLS": "each", "LOGFERRY_SPOOL_DIR": str(spool), "NODE_OPTIONS": f"--require {hook}"}
    return required | dict(settings or {})


@dataclass(frozen=True)
class Ran:
    """Result of a script."""

    status: int
    stdout: str
    stderr: str


def run(code: str, variables: Mapping[str, str], *arguments: str, program: str = "", flags: Sequence[str] = ()) -> Ran:
    """Run code of a CommonJS module in a fresh process, with these variables and PATH only."""
    done = subprocess.run(
        [program or node(), *flags, "-e", code, *arguments],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def output_of(code: str, variables: Mapping[str, str], *arguments: str, program: str = "") -> str:
    """Run code that succeeds, and return its output."""
    ran = run(code, variables, *arguments, program=program)
    assert (ran.status, ran.stderr) == (0, "")
    return ran.stdout


def function_folder(folder: Path, *, modules: Path | None = None) -> Path:
    """Write a function with the handler of `calling.mjs` and the sample runtime; `modules` is its node_modules."""
    folder.mkdir(parents=True)
    shutil.copy(FUNCTIONS / "calling.mjs", folder / "index.mjs")
    shutil.copy(RUNTIME, folder / "runtime.mjs")
    if modules is not None:
        (folder / "node_modules").symlink_to(modules)
    return folder
