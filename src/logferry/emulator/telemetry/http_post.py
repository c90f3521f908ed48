"""One POST to a subscriber, with a patience that stands still while the subscriber is frozen.

A process that is stopped cannot answer; that it does not must not count against it.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from logferry.emulator.telemetry.subscription import Subscription


class Poster:
    """Posts bodies to one address, one at a time; `patience_seconds` is how long an answer may take."""

    def __init__(self, subscription: Subscription, *, session: aiohttp.ClientSession, patience_seconds: float) -> None:
        self._url = subscription.url
        self._headers = {
            "Content-Type": "application/json",
            "Host": f"sandbox.localdomain:{subscription.port}",
        }
        self._session = session
        self._patience_seconds = patience_seconds
        self._patience: asyncio.Timeout | None = None

    def freeze(self) -> None:
        """Stop the clock of a POST under way."""
        if self._patience is not None:
            self._patience.reschedule(None)

    def thaw(self) -> None:
        """Start it again, from the beginning."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + self._patience_seconds)

    async def post(self, body: bytes) -> int | str:
        """One attempt: the status it was answered with, or in words why there was none."""
        try:
            async with asyncio.timeout(self._patience_seconds) as self._patience:
                return await self._exchange(body)
        except TimeoutError:
            return f"no answer in {self._patience_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._patience = None

    async def _exchange(self, body: bytes) -> int:
        # A stream and not the bytes themselves: those aiohttp would write in one go, and warn of when they are many.
        stream = io.BytesIO(body)
        async with self._session.post(self._url, data=stream, headers=self._headers, allow_redirects=False) as response:
            await response.read()
            return response.status
