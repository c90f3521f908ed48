"""A sink for a configuration that no client covers: it rejects each object with the reason and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.errors import SinkRejected

if TYPE_CHECKING:
    from logferry.records.model import StoredObject


class UnusableSink:
    """A sink that stores nothing. `reason` ends with the remedy."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def connect(self) -> None:
        """Do nothing."""

    async def put(self, stored: StoredObject) -> None:
        """Raise SinkRejected with the reason and the remedy."""
        raise SinkRejected(f"put {stored.key}: {self._reason}")
