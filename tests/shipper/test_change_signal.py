"""Waiting tasks: which changes wake them, and their deadlines."""

from __future__ import annotations

import asyncio

from logferry.deadline import Deadline
from logferry.shipper.change_signal import ChangeSignal
from support import virtual_time

LATER_SECONDS = 1000.0


def _later() -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + LATER_SECONDS)


def test_a_task_is_woken_only_by_a_change_after_which_its_condition_holds() -> None:
    """A change that does not matter costs a check of the condition and no task."""
    checks: list[bool] = []
    state = {"done": False}

    def condition() -> bool:
        checks.append(state["done"])
        return state["done"]

    async def scenario() -> bool:
        changes = ChangeSignal()
        task = asyncio.create_task(changes.wait_until(condition, _later()))
        await asyncio.sleep(0)
        for _ in range(5):
            changes.notify()
            await asyncio.sleep(0)
        assert not task.done()
        state["done"] = True
        changes.notify()
        return await task

    assert virtual_time.run(scenario())
    assert checks == [False] * 6 + [True] * 2, "once at the beginning, once per change, once after the wake-up"


def test_a_wait_ends_at_its_deadline() -> None:
    """A missing change must not extend an invocation."""

    async def scenario() -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        held = await ChangeSignal().wait_until(lambda: False, Deadline(began + 5))
        return held, loop.time() - began

    assert virtual_time.run(scenario()) == (False, 5)


def test_a_condition_that_no_longer_holds_continues_the_wait() -> None:
    """Another task may run between the change and the task that it wakes."""
    state = {"done": False}

    async def scenario() -> bool:
        changes = ChangeSignal()
        task = asyncio.create_task(changes.wait_until(lambda: state["done"], _later()))
        await asyncio.sleep(0)
        state["done"] = True
        changes.notify()
        state["done"] = False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        state["done"] = True
        changes.notify()
        return await task

    assert virtual_time.run(scenario())


def test_several_tasks_wait_and_a_cancelled_one_is_forgotten() -> None:
    """Each change is offered to every task that waits."""

    async def scenario() -> list[bool]:
        changes = ChangeSignal()
        tasks = [asyncio.create_task(changes.wait_until(lambda: True, _later())) for _ in range(2)]
        waiting = [asyncio.create_task(changes.wait(_later())) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        changes.notify()
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, False, False]
        return [await task for task in tasks]

    assert virtual_time.run(scenario()) == [True, True]
