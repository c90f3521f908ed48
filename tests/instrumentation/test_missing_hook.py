"""The message about a runtime without a hook: for which functions it is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from logferry.instrumentation.missing_hook import is_configured, warn_if_missing
from support.fake_proc import FakeProc

if TYPE_CHECKING:
    from pathlib import Path

SUPERVISOR, RUNTIME = 20, 30


@pytest.mark.parametrize(
    ("variables", "configured"),
    [
        ({}, False),
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-handler", "NODE_OPTIONS": "--no-warnings"}, False),
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/logferry-wrap"}, True),
        ({"NODE_OPTIONS": "--no-warnings --require /opt/logferry/hooks/node.cjs"}, True),
        ({"PYTHONPATH": "/opt/logferry/hooks/python:/var/task"}, True),
    ],
)
def test_variables_that_start_a_hook_are_recognized(variables: dict[str, str], *, configured: bool) -> None:
    """The wrapper of another tool may be set as well."""
    assert is_configured(variables) is configured


@pytest.mark.parametrize(
    ("environ", "messages"),
    [
        ("_HANDLER=app.handler\0PATH=/bin\0", 1),
        ("_HANDLER=app.handler\0PYTHONPATH=/opt/logferry/hooks/python\0", 0),
        ("_HANDLER=app.handler\0NODE_OPTIONS=--require /opt/logferry/hooks/node.cjs\0", 0),
    ],
)
def test_environment_of_the_runtime_decides(tmp_path: Path, environ: str, messages: int) -> None:
    """The command of an image may begin with the wrapper, which no variable of the extension shows."""
    machine = FakeProc(tmp_path / "proc")
    for pid in (SUPERVISOR, RUNTIME):
        machine.process(pid, parent=5, handler=pid == RUNTIME)
    (machine.root / str(RUNTIME) / "environ").write_text(environ)
    found: list[Any] = []
    warn_if_missing(supervisor_pid=SUPERVISOR, warn=found.append, proc=str(machine.root))
    assert len(found) == messages
    assert all("AWS_LAMBDA_EXEC_WRAPPER=/opt/logferry-wrap" in each for each in found)
