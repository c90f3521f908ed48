"""Message about a function whose HTTP calls are to be recorded, and whose runtime was started without a hook.

Guarantees:
- A function whose variables name the exec wrapper or a hook is not examined.
- The message is logged once, after the first invocation, if it had no call and no runtime has a hook.

Design: a missing hook and a function without calls look the same in the stream. The wrapper may also be in the command
of an image, which the variables of an extension do not show. The environment of the runtime shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.instrumentation.runtime_processes import read_file, runtime_pids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WRAPPER, HOOKS = "logferry-wrap", "logferry/hooks/"
"""End of the path of the exec wrapper, and a part of the paths of the hooks."""
_HOOKED_VARIABLES = ("NODE_OPTIONS", "PYTHONPATH")


def is_configured(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of the function start a hook."""
    wrapper = environ.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    return wrapper.endswith(WRAPPER) or any(HOOKS in environ.get(name, "") for name in _HOOKED_VARIABLES)


def warn_if_missing(*, supervisor_pid: int, warn: Callable[..., None], proc: str = "/proc") -> None:
    """Log a message if no process of the runtime has a hook in its environment; `proc` is set in tests."""
    pids = runtime_pids(supervisor_pid=supervisor_pid, proc=proc)
    if any(HOOKS.encode() in read_file(f"{proc}/{pid}/environ") for pid in pids):
        return
    warn(
        "LOGFERRY_CALLS is set, and the runtime was started without the exec wrapper: no HTTP call is recorded; set "
        "AWS_LAMBDA_EXEC_WRAPPER=/opt/logferry-wrap, or begin the command of an image or a custom runtime with "
        "/opt/logferry-wrap; README, HTTP calls"
    )
