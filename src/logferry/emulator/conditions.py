"""Waiting for the state of an environment to be such and such: one mechanism, with two ways out besides success.

A wait ends when its condition holds, when the environment breaks, or when its deadline passes. Whoever changes the
state says `changed()`; nobody polls. The first failure is kept and later ones are ignored, so that an extension's
`exit/error` is not overwritten by the exit that follows it (`StoreFirstFatalError` in
aws-lambda-runtime-interface-emulator).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Failure:
    """What broke the environment: AWS's error type, such as `Extension.Crash`, and a sentence.

    `payload` is what the caller gets in place of that sentence, when the runtime itself has said what went wrong.
    """

    error_type: str
    message: str
    payload: bytes | None = None


class EnvironmentBrokenError(Exception):
    """The environment cannot go on and has to be reset."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error_type}: {failure.message}")
        self.failure = failure


class Gates:
    """The waits of one life of an environment."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self.failure: Failure | None = None

    def changed(self) -> None:
        """Look at every wait again: some state it may depend on has changed."""
        for future, condition in list(self._waiting.items()):
            if not future.done() and condition():
                future.set_result(None)

    def fail(self, failure: Failure) -> None:
        """End every wait that heeds failures, now and in future. Only the first failure counts."""
        if self.failure is None:
            self.failure = failure
        self.changed()

    async def until(self, condition: Callable[[], bool], *, deadline: float) -> None:
        """Wait for `condition`, at most until `deadline` on the loop's clock.

        Raises EnvironmentBrokenError as soon as the environment is broken, even if the condition holds too, and
        TimeoutError when the deadline passes first.
        """
        await self.until_even_if_broken(lambda: self.failure is not None or condition(), deadline=deadline)
        if self.failure is not None:
            raise EnvironmentBrokenError(self.failure)

    async def until_even_if_broken(self, condition: Callable[[], bool], *, deadline: float) -> None:
        """Wait for `condition` whatever else happens; TimeoutError when the deadline passes first."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        try:
            async with asyncio.timeout_at(deadline):
                await future
        finally:
            del self._waiting[future]
