"""AWS_LAMBDA_EXEC_WRAPPER: the wrapper of a managed runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda
from logferry.emulator.processes.exec_wrapper import VARIABLE, wrapped_command
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path


def wrapper(tmp_path: Path, *, mode: int = 0o755) -> str:
    """Return the path of a wrapper that adds a variable and executes its arguments."""
    script = tmp_path / "wrapper"
    script.write_text('#!/bin/sh\necho "wrapped $#"\nexport ADDED=yes\nexec "$@"\n')
    script.chmod(mode)
    return str(script)


def test_the_command_is_unchanged_without_a_wrapper(tmp_path: Path) -> None:
    """An absent or empty variable has no effect."""
    assert wrapped_command(["f", "x"], {}, directory=tmp_path) == ["f", "x"]
    assert wrapped_command(["f", "x"], {VARIABLE: ""}, directory=tmp_path) == ["f", "x"]
    path = wrapper(tmp_path)
    assert wrapped_command(["f", "x"], {VARIABLE: path}, directory=tmp_path) == [path, "f", "x"]


@pytest.mark.parametrize("name", ["wrapper", "./wrapper"])
async def test_a_relative_wrapper_is_in_the_folder_of_the_function(tmp_path: Path, name: str) -> None:
    """The runtime starts in this folder, whatever the current directory of the emulator is."""
    wrapper(tmp_path)
    config = EmulatorHarness(tmp_path).config(environment={VARIABLE: name}, working_directory=tmp_path)
    async with Lambda(config) as lam:
        result = await lam.invoke({"variables": True})
    assert json.loads(result.payload)["variables"]["ADDED"] == "yes"


async def test_the_wrapper_receives_the_command_of_the_runtime(tmp_path: Path) -> None:
    """The wrapper runs in the runtime's process and changes its environment; extensions are not wrapped."""
    harness = EmulatorHarness(tmp_path)
    extensions = {"ext": harness.extension(at_start="variables")}
    config = harness.config(environment={VARIABLE: wrapper(tmp_path)}, extensions=extensions)
    async with Lambda(config) as lam:
        result = await lam.invoke({"variables": True})
    assert json.loads(result.payload)["variables"]["ADDED"] == "yes"
    assert "ADDED" not in harness.notes("variables")[0]["variables"]
    assert ("runtime", f"wrapped {len(config.function)}\n") in lam.console


@pytest.mark.parametrize(
    ("mode", "reason", "status"), [(None, "does not exist", 127), (0o644, "is not an executable", 126)]
)
async def test_an_unusable_wrapper_ends_the_runtime_with_a_message(
    tmp_path: Path, mode: int | None, reason: str, status: int
) -> None:
    """The invocation fails with Runtime.ExitError, and the reason is a line of the function."""
    path = str(tmp_path / "absent") if mode is None else wrapper(tmp_path, mode=mode)
    async with Lambda(EmulatorHarness(tmp_path).config(environment={VARIABLE: path})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.ExitError")
    assert f"exit status {status}" in result.payload.decode()
    assert ("runtime", f"{path}: {reason}\n") in lam.console


@pytest.mark.parametrize(
    ("content", "reason", "status"),
    [("#!/absent/interpreter\n", "No such file or directory", 127), ("\x7fELF no program", "Exec format error", 126)],
)
async def test_a_wrapper_that_the_kernel_rejects_ends_the_runtime_with_a_message(
    tmp_path: Path, content: str, reason: str, status: int
) -> None:
    """A wrapper for another architecture, or with a missing interpreter, exists and is executable."""
    path = wrapper(tmp_path)
    (tmp_path / "wrapper").write_text(content)
    async with Lambda(EmulatorHarness(tmp_path).config(environment={VARIABLE: path})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.ExitError")
    assert f"exit status {status}" in result.payload.decode()
    assert ("runtime", f"{path}: cannot execute: {reason}\n") in lam.console


async def test_each_process_of_managed_instances_is_wrapped(tmp_path: Path) -> None:
    """Each worker process of the runtime is started by the wrapper."""
    config = EmulatorHarness(tmp_path).config(
        environment={VARIABLE: wrapper(tmp_path)}, initialization_type="lambda-managed-instances",
        max_concurrency=2, runtime_processes=2, extensions={},
    )  # fmt: skip
    async with Lambda(config) as lam:
        assert (await lam.invoke({})).status == "success"
    started = [line for name, line in lam.console if name.startswith("runtime") and line.startswith("wrapped ")]
    assert len(started) == 2
