"""The command of the runtime with `AWS_LAMBDA_EXEC_WRAPPER`.

Guarantees:
- The wrapper receives the original command as its arguments.
- A wrapper that does not exist ends the runtime with status 127, one that is not executable with 126.
  The runtime prints the reason.

Design: on Lambda the bootstrap of a managed runtime does this. A custom runtime on Lambda ignores the
variable unless its own bootstrap reads it.

References: `/var/runtime/bootstrap` of AWS's base images for Python and Node.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLE = "AWS_LAMBDA_EXEC_WRAPPER"
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def wrapped_command(command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Return the argument vector of the runtime."""
    wrapper = variables.get(VARIABLE)
    # 1. No wrapper: the command itself.
    # 2. No such file, or no permission: a shell that prints the reason.
    # 3. Otherwise: the wrapper with the command as its arguments.
    if not wrapper:
        return list(command)
    if not Path(wrapper).is_file():
        return _failing_command(f"{wrapper}: does not exist", NOT_FOUND)
    if not os.access(wrapper, os.X_OK):
        return _failing_command(f"{wrapper}: is not an executable", NOT_EXECUTABLE)
    return [wrapper, *command]


def _failing_command(message: str, status: int) -> list[str]:
    return ["/bin/sh", "-c", 'echo "$1"; exit "$2"', "bootstrap", message, str(status)]
