"""Waits for a condition."""

from __future__ import annotations

import asyncio

import pytest

from logferry.emulator.conditions import Conditions, EnvironmentBrokenError, Failure


def soon() -> float:
    """Return a deadline in the near future."""
    return asyncio.get_running_loop().time() + 0.05


async def test_the_first_failure_is_kept() -> None:
    """`exit/error` takes precedence over the exit that follows."""
    conditions = Conditions()
    conditions.fail(Failure("Extension.ExitError", "reported"))
    conditions.fail(Failure("Extension.Crash", "exit status 1"))
    with pytest.raises(EnvironmentBrokenError, match=r"Extension\.ExitError: reported"):
        await conditions.wait_for(lambda: True, deadline=soon())


async def test_a_wait_ends_when_its_condition_holds() -> None:
    """A recheck with a false condition does not end the wait."""
    conditions = Conditions()
    state: list[int] = []
    waiting = asyncio.create_task(conditions.wait_for(lambda: bool(state), deadline=soon() + 5))
    await asyncio.sleep(0)
    conditions.recheck()
    await asyncio.sleep(0)
    assert not waiting.done()
    state.append(1)
    conditions.recheck()
    await waiting


async def test_a_wait_ends_at_its_deadline() -> None:
    """Each wait is limited, in a failed environment too."""
    conditions = Conditions()
    with pytest.raises(TimeoutError):
        await conditions.wait_for(lambda: False, deadline=soon())
    conditions.fail(Failure("Extension.Crash", "exit code 0"))
    with pytest.raises(TimeoutError):
        await conditions.wait_despite_failure(lambda: False, deadline=soon())
