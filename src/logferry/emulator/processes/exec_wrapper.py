"""The command of the runtime with `AWS_LAMBDA_EXEC_WRAPPER`.

Guarantees:
- The wrapper receives the original command as its arguments, in the process of the runtime.
- A relative path is relative to the folder of the function.
- A wrapper that does not exist ends the runtime with status 127, one that cannot be executed with 126.
  The runtime prints the reason.

Design: on Lambda the bootstrap of a managed runtime does this. A custom runtime on Lambda ignores the
variable unless its own bootstrap reads it.

References: `/var/runtime/bootstrap` of AWS's base images for Python and Node.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VARIABLE = "AWS_LAMBDA_EXEC_WRAPPER"
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def wrapped_command(command: Sequence[str], variables: Mapping[str, str], *, directory: Path) -> list[str]:
    """Return the argument vector of the runtime, which starts in `directory`."""
    wrapper = variables.get(VARIABLE)
    # 1. No wrapper: the command itself.
    # 2. No such file, or no permission: a shell that prints the reason.
    # 3. Otherwise: the wrapper with the command as its arguments.
    if not wrapper:
        return list(command)
    if not (directory / wrapper).is_file():
        return _failing_command(f"{wrapper}: does not exist", NOT_FOUND)
    if not os.access(directory / wrapper, os.X_OK):
        return _failing_command(f"{wrapper}: is not an executable", NOT_EXECUTABLE)
    # A name without a slash is that of a file in the folder, and is not searched on PATH.
    return [wrapper if "/" in wrapper else f"./{wrapper}", *command]


def rejected_command(wrapper: str, error: OSError) -> list[str]:
    """Return the argument vector of a runtime whose wrapper the kernel rejects, with the status of a shell."""
    status = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    return _failing_command(f"{wrapper}: cannot execute: {os.strerror(error.errno or 0)}", status)


def _failing_command(message: str, status: int) -> list[str]:
    return ["/bin/sh", "-c", 'echo "$1"; exit "$2"', "bootstrap", message, str(status)]
