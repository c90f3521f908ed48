"""Environment variables of the runtime and of extensions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.emulator.lambda_service import Lambda
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path


async def test_processes_receive_the_variables_of_lambda(tmp_path: Path) -> None:
    """An extension has neither handler nor log group, and no name that starts with an underscore."""
    harness = EmulatorHarness(tmp_path)
    configured = {"LOGFERRY_DESTINATION": "file:///x", "AWS_ACCESS_KEY_ID": "id", "_X": "hidden"}
    config = harness.config(
        extensions={"ext": harness.extension(at_start="variables")},
        environment=configured,
        handler="a.b",
        log_format="JSON",
    )
    async with Lambda(config) as lam:
        result = await lam.invoke({"variables": True})
    runtime = json.loads(result.payload)["variables"]
    extension = harness.notes("variables")[0]["variables"]
    shared = {
        "AWS_LAMBDA_RUNTIME_API": lam.runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
        "LOGFERRY_DESTINATION": "file:///x",
        "AWS_ACCESS_KEY_ID": "id",
    }
    assert shared.items() <= runtime.items()
    assert shared.items() <= extension.items()
    assert runtime["_HANDLER"] == "a.b"
    assert runtime["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/function"
    for absent in ("_HANDLER", "_X", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_TASK_ROOT"):
        assert absent not in extension
    assert "PYTEST_CURRENT_TEST" not in extension, "the environment of the emulator must not reach the function"
