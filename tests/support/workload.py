"""The functions of `instrumentation/functions` under the emulator with the real extension, and their records."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import logferry.emulator.samples
from support.end_to_end import arrived_in, environment, records_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from logferry.emulator.lambda_service import Lambda

FUNCTIONS = Path(__file__).parents[1] / "instrumentation" / "functions"
SAMPLES = Path(logferry.emulator.samples.__file__).parent
PYTHON_COMMAND = (sys.executable, "-m", "awslambdaric", "workload.handler")


def python_function(tmp_path: Path, settings: Mapping[str, str], **config: Any) -> AbstractAsyncContextManager[Lambda]:
    """Run the Python function; objects are stored in `tmp_path/out`."""
    given = {"function": PYTHON_COMMAND, "handler": "workload.handler", "working_directory": FUNCTIONS}
    return environment(tmp_path, settings, **{**given, **config})


def node_function(tmp_path: Path, settings: Mapping[str, str], **config: Any) -> AbstractAsyncContextManager[Lambda]:
    """Run the Node function; skip the test without Node."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    folder = tmp_path / "node"
    folder.mkdir()
    shutil.copy(SAMPLES / "runtime.mjs", folder)
    shutil.copy(FUNCTIONS / "index.mjs", folder)
    return environment(
        tmp_path, settings, function=("node", str(folder / "runtime.mjs")), handler="index.handler", **config
    )


def stored(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    """Return the stored contents of the records of a type of logferry."""
    records = records_of(arrived_in(tmp_path / "out"))
    return [record["record"] for record in records if record["type"] == f"logferry.{kind}"]


def response(payload: bytes) -> dict[str, Any]:
    """Return the response of a function."""
    parsed = json.loads(payload)
    assert isinstance(parsed, dict)
    return parsed
