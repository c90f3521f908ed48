"""`logferry run`: replace this process with the extension.

Guarantees: nothing of the command line stays in the process, and no library of the command line is
imported.

Design: the layer's launcher does the same in C. `os.path` is used because `pathlib` and `sysconfig`
take 15 ms to import. The paths of the packages are those of this process, so that user
installations are found too.
"""

from __future__ import annotations

import os
import sys


def argv() -> list[str]:
    """Return the supervisor's command line: interpreter, options, script and package paths."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - see Design
    packages = (path for path in sys.path if path.endswith("-packages"))
    paths = dict.fromkeys([os.path.dirname(package), *packages])  # noqa: PTH120
    boot = os.path.join(package, "supervisor", "boot.py")  # noqa: PTH118
    return [sys.executable, "-I", "-S", "-X", "utf8", boot, ":".join(paths)]


def run() -> None:
    """Replace this process with the supervisor. Never return."""
    command = argv()
    os.execv(command[0], command)  # noqa: S606 - there is no shell, and the path is this interpreter's
