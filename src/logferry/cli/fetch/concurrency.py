"""Concurrent requests of one destination, whose first error is raised as it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

T = TypeVar("T")


async def gathered(requests: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order. Cancel the other requests at the first error.

    Raise DestinationError. Requests of one destination fail for the same reason, so one is sufficient.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in requests]
    except* DestinationError as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
