"""The interface of a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logferry.records.model import StoredObject


class Sink(Protocol):
    """A destination that stores an object or raises; there is no third outcome."""

    async def connect(self) -> None:
        """Prepare for the next `put`. The call is bounded and does not raise."""

    async def put(self, stored: StoredObject) -> None:
        """Return when the object is stored; raise SinkUnavailable or SinkRejected otherwise."""
