"""Check of a built tree: the exec wrapper executes a program with the hooks of the tree in its environment.

Guarantees:
- A tree fails if a hook that it contains is not in the environment of the program.
- A tree fails if the wrapper changes the environment while LOGFERRY_CALLS is not set.

Design: Node.js ends if `--require` names a missing file, and Python ignores a missing folder silently. Both faults
would be visible only in a function.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from logferry.layer import checks
from logferry.layer.architecture import Architecture
from logferry.layer.checks import CheckError
from logferry.layer.smoke_test import ISOLATED, command
from logferry.layer.subprocesses import LayerError, run

PROGRAM = "import json, os; print(json.dumps(dict(os.environ)))"
PYTHON_HOOK = checks.HOOKS / "python"
UNCHANGED = {"NODE_OPTIONS": "--no-warnings", "EMPTY": ""}


def check_wrapper(opt: Path, *, python: str, arch: Architecture) -> None:
    """Execute the tree's interpreter through the wrapper. Raises CheckError if its environment is another one."""
    interpreter = [*command(opt / "logferry", python=python, arch=arch), *ISOLATED, "-c", PROGRAM]
    plain = _environment(opt, interpreter, UNCHANGED)
    if "PYTHONPATH" in plain or any(plain.get(name) != value for name, value in UNCHANGED.items()):
        raise CheckError(f"without LOGFERRY_CALLS {checks.EXEC_WRAPPER} changes the environment to {plain}")
    hooked = _environment(opt, interpreter, UNCHANGED | {"LOGFERRY_CALLS": "each"})
    expected = {"NODE_OPTIONS": f"--no-warnings --require {opt / checks.NODE_HOOK}"}
    if (opt / PYTHON_HOOK).is_dir():
        expected["PYTHONPATH"] = str(opt / PYTHON_HOOK)
    if missing := sorted(name for name, value in expected.items() if hooked.get(name) != value):
        raise CheckError(f"{checks.EXEC_WRAPPER} does not add the hooks to {', '.join(missing)}: {hooked}")


def _environment(opt: Path, interpreter: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that the wrapper executes."""
    try:
        output = run(
            [str(opt / checks.EXEC_WRAPPER), *interpreter],
            purpose="executing the interpreter with the exec wrapper",
            environment=environment,
        )
    except LayerError as error:
        raise CheckError(f"the tree does not work: {error}") from error
    seen: dict[str, str] = json.loads(output)
    return seen
