"""Compacted hours of a directory, whose manifests have the rows of objects that can be deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.compact.compactor import read_state
from logferry.cli.fetch.directory import DirectorySource
from logferry.cli.fetch.request_usage import RequestUsage
from logferry.cli.fetch.selection import COMPACT, ListRange, Selection

if TYPE_CHECKING:
    from logferry.cli.compact.compactor import State


def compacted_state(root: str, function: str) -> State:
    """Return the compacted hours of the functions that match a glob. Raise DestinationError."""
    return asyncio.run(_state(DirectorySource(Path(root), RequestUsage()), function))


async def _state(source: DirectorySource, function: str) -> State:
    listed = [each async for page in source.objects(ListRange(f"{COMPACT}/")) for each in page]
    return await read_state(source, listed, Selection(function))
