"""Invalid values of the settings that both processes read: real processes, one message, and LOGFERRY_STRICT."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.platform_events import invoke_event

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

INVALID = {
    "LOGFERRY_ENABLED": "ture",
    "LOGFERRY_STRICT": "ture",
    "LOGFERRY_PORT": "80",
    "LOGFERRY_SPOOL_DIR": "spool",
    "LOGFERRY_LOG_LEVEL": "loud",
    "LOGFERRY_TYPES": "extensions",
}


def settings(folder: Path, **values: str) -> dict[str, str]:
    """Return valid settings with these values in place of the valid ones."""
    valid = {"LOGFERRY_DESTINATION": f"file://{folder}/out", "LOGFERRY_SPOOL_DIR": str(folder / "spool")}
    return {**valid, **values}


@pytest.mark.parametrize(("name", "value"), INVALID.items())
async def test_invalid_value_is_reported_once_and_logferry_idles(tmp_path: Path, name: str, value: str) -> None:
    """No invalid value switches logferry off silently, and the function continues."""
    async with BareLambda(settings(tmp_path, **{name: value})) as platform:
        life = await platform.start(at_once=True)
        await platform.hand_out(invoke_event("first", seconds=30))
        await platform.wait_until(lambda: any(name in line for line in life.output))
        assert await platform.hand_out(invoke_event("second", seconds=30)) < 1
        assert sum(f"{name} is {value!r}" in line for line in life.output) == 1, life.output
        assert await platform.shutdown() < 2


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value in INVALID.items() if "STRICT" not in name])
async def test_invalid_value_fails_the_init_phase_with_strict(tmp_path: Path, name: str, value: str) -> None:
    """LOGFERRY_STRICT covers the settings that the supervisor itself reads."""
    async with BareLambda(settings(tmp_path, LOGFERRY_STRICT="true", **{name: value})) as platform:
        starting = asyncio.create_task(platform.start(at_once=True))
        await platform.wait_until(lambda: platform.processes and platform.extension.process.returncode is not None)
        starting.cancel()
        assert [name in error["errorMessage"] for error in platform.init_errors] == [True]
        assert platform.extension.process.returncode == 1


@pytest.mark.parametrize("name", INVALID)
async def test_empty_value_means_the_default(tmp_path: Path, name: str) -> None:
    """A variable that is set to nothing counts as missing in both processes."""
    async with BareLambda(settings(tmp_path, **{name: " "})) as platform:
        life = await platform.start()
        assert life.shipper
        await platform.invoke(["line"])
        await platform.shutdown()
        assert life.output == []
    assert list((tmp_path / "out").rglob("*.ndjson*"))
