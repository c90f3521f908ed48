"""A sink whose messages name the settings that configure it, in place of AWS variables or of other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.aws.variable_names import renamed
from logferry.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink


class NamedSettingsSink:
    """A sink, and the names of the settings that configure it."""

    def __init__(self, sink: Sink, names: Mapping[str, str]) -> None:
        """`names` has the words of a message to replace."""
        self.sink = sink
        self._names = names

    def __repr__(self) -> str:
        return repr(self.sink)

    async def connect(self) -> None:
        """Prepare for the next `put`."""
        await self.sink.connect()

    async def put(self, stored: StoredObject) -> None:
        """Store one object. Raises SinkUnavailable or SinkRejected."""
        try:
            await self.sink.put(stored)
        except SinkError as error:
            raise error.restated(renamed(str(error), self._names)) from error

    def close(self) -> Awaitable[None] | None:
        """Close the connections; the AWS SDK returns an awaitable."""
        close = getattr(self.sink, "close", None)
        return close() if close else None
