"""The clock of the running event loop, with which deadlines are compared."""

from __future__ import annotations

import asyncio


def loop_time() -> float:
    """Return the time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()
