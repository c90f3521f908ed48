"""`logferry run`: become the extension, as the layer's launcher does, from a checkout or an installed package.

The process is replaced: nothing of the command line stays in it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def argv() -> list[str]:
    """The supervisor's command line: this interpreter, isolated and without site, and where its packages are."""
    package = Path(__file__).resolve().parent.parent
    paths = dict.fromkeys([str(package.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    return [sys.executable, "-I", "-S", "-X", "utf8", str(package / "supervisor" / "boot.py"), ":".join(paths)]


def run() -> None:
    """Replace this process by the supervisor; never returns."""
    command = argv()
    os.execv(command[0], command)  # noqa: S606 - there is no shell, and the path is this interpreter's
