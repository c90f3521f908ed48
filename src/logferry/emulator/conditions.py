"""Waits for a condition on the state of an execution environment.

Guarantees:
- A wait ends when its condition holds, when the environment fails, or at its deadline.
- The first failure is kept and later ones are ignored. The `exit/error` of an extension is
  therefore not overwritten by the exit that follows it.

Design: code that changes the state calls `recheck()`, so nothing polls.

References: `StoreFirstFatalError` in aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Failure:
    """The cause of a failed environment: AWS's error type, such as `Extension.Crash`, and a message.

    `payload` replaces the message in the response to the caller, if the runtime reported the error.
    """

    error_type: str
    message: str
    payload: bytes | None = None


class EnvironmentBrokenError(Exception):
    """The environment cannot continue and has to be reset."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error_type}: {failure.message}")
        self.failure = failure


class Conditions:
    """The pending waits of one sandbox."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self.failure: Failure | None = None

    def recheck(self) -> None:
        """Evaluate every pending condition again after a change of state."""
        for future, condition in list(self._waiting.items()):
            if not future.done() and condition():
                future.set_result(None)

    def fail(self, failure: Failure) -> None:
        """Record the first failure, and end every `wait_for` that is pending or still to come."""
        if self.failure is None:
            self.failure = failure
        self.recheck()

    async def wait_for(self, condition: Callable[[], bool], *, deadline: float) -> None:
        """Wait for `condition`, at most until `deadline` on the clock of the event loop.

        Raise EnvironmentBrokenError as soon as the environment has failed, even if the condition holds.
        Raise TimeoutError if the deadline passes first.
        """
        await self.wait_despite_failure(lambda: self.failure is not None or condition(), deadline=deadline)
        if self.failure is not None:
            raise EnvironmentBrokenError(self.failure)

    async def wait_despite_failure(self, condition: Callable[[], bool], *, deadline: float) -> None:
        """Wait for `condition` even in a failed environment; raise TimeoutError at the deadline."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        try:
            async with asyncio.timeout_at(deadline):
                await future
        finally:
            del self._waiting[future]
