"""The Init phase: its order, its limits, and its failures."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from logferry.emulator.lambda_service import Lambda, Limits
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_runtime_starts_after_every_extension_has_registered(tmp_path: Path) -> None:
    """Registration is the only serial part of a cold start."""
    harness = EmulatorHarness(tmp_path)
    extensions = {"a": harness.extension("a"), "b": harness.extension("b", at_start="sleep:0.3")}
    async with Lambda(harness.config(extensions=extensions)) as lam:
        await lam.invoke({})
    registered = [e.at_ms for e in lam.timeline.of("register")]
    (started,) = [e.at_ms for e in lam.timeline.of("process", "runtime")]
    assert len(registered) == 2
    assert max(registered) <= started


async def test_init_ends_after_every_extension_has_called_next(tmp_path: Path) -> None:
    """The Init phase waits for the first `/next` of every extension."""
    harness = EmulatorHarness(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)  # O_WRONLY would wait for the extension
    async with Lambda(harness.config(extensions={"ext": harness.extension(before_next=f"hold:{fifo}")})) as lam:
        starting = asyncio.create_task(lam.start())
        await lam.timeline.wait_for(lambda e: e.kind == "next" and e.subject == "runtime")
        os.write(writer, b"!")
        await starting
    os.close(writer)
    (requested,) = lam.timeline.of("next", "ext")
    init = lam.timeline.of("init")[-1]
    assert init.detail["status"] == "success"
    assert requested.at_ms <= init.at_ms


@pytest.mark.parametrize(
    ("behaviour", "error_type"),
    [
        ({"before_next": "exit:1"}, "Extension.Crash"),
        ({"before_next": "init-error"}, "Extension.InitError"),
        ({"at_start": "exit:1"}, "Extension.Crash"),
    ],
)
async def test_an_extension_failure_in_init_repeats_in_the_suppressed_init(
    tmp_path: Path, behaviour: dict[str, str], error_type: str
) -> None:
    """The Init phase fails, runs again within the invocation, and fails the invocation."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(extensions={"ext": harness.extension(**behaviour)})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", error_type)
    inits = [(e.detail["phase"], e.detail["status"]) for e in lam.timeline.of("init")]
    assert inits == [("init", "begin"), ("init", error_type), ("invoke", "begin"), ("invoke", error_type)]


async def test_an_extension_that_cannot_be_executed_is_a_launch_error(tmp_path: Path) -> None:
    """A file in /opt/extensions without the x bit is a LaunchError."""
    script = tmp_path / "not-executable"
    script.write_text("#!/bin/sh\n")
    async with Lambda(EmulatorHarness(tmp_path).config(extensions={"ext": [str(script)]})) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Extension.LaunchError")
    assert not [e for e in lam.timeline.of("process") if e.subject == "runtime"], "the runtime is never started"


async def test_a_function_that_cannot_be_executed_is_an_invalid_entrypoint(tmp_path: Path) -> None:
    """A missing command fails the invocation and not the emulator."""
    async with Lambda(EmulatorHarness(tmp_path).config(function=["/nowhere/bootstrap"])) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.InvalidEntrypoint")


async def test_an_init_error_of_the_runtime_reaches_the_caller_unchanged(tmp_path: Path) -> None:
    """The caller receives the body that the runtime reported."""
    async with Lambda(EmulatorHarness(tmp_path).config("init-error")) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("crash", "Runtime.ImportModuleError")
    assert json.loads(result.payload)["errorMessage"] == "no module named app"


async def test_an_init_timeout_is_followed_by_a_suppressed_init(tmp_path: Path) -> None:
    """The Init phase has a separate limit; its repetition has the function's timeout."""
    harness = EmulatorHarness(tmp_path)
    limits = Limits(on_demand_init_seconds=0.3, shutdown_seconds=0.2)
    config = harness.config("never-ready", timeout_seconds=0.3, limits=limits)
    async with Lambda(config) as lam:
        result = await lam.invoke({})
    assert (result.status, result.error_type) == ("timeout", "Sandbox.Timedout")
    assert [e.detail["phase"] for e in lam.timeline.of("init")] == ["init", "init", "invoke", "invoke"]


async def test_provisioned_concurrency_runs_init_before_the_first_invocation(tmp_path: Path) -> None:
    """Only on-demand environments wait for the first invocation."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config(initialization_type="provisioned-concurrency")) as lam:
        assert lam.timeline.of("init")[-1].detail["status"] == "success"
        result = await lam.invoke({})
    assert result.init_ms is None
