"""Requests to one subscriber, with a timeout that pauses while the subscriber is frozen.

Design: a stopped process cannot respond, so frozen time does not count.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from logferry.emulator.telemetry.subscription import Subscription


class HttpPoster:
    """Posts bodies to one address, one at a time, with a response timeout."""

    def __init__(self, subscription: Subscription, *, session: aiohttp.ClientSession, timeout_seconds: float) -> None:
        self.url = subscription.url
        self._headers = {
            "Content-Type": "application/json",
            "Host": f"sandbox.localdomain:{subscription.port}",
        }
        self._session = session
        self._timeout_seconds = timeout_seconds
        self._timeout: asyncio.Timeout | None = None

    def freeze(self) -> None:
        """Stop the timeout of a request in progress."""
        if self._timeout is not None:
            self._timeout.reschedule(None)

    def thaw(self) -> None:
        """Restart the timeout from the beginning."""
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._timeout_seconds)

    async def post(self, body: bytes) -> int | str:
        """Send one request; return the status of the response, or the reason for its absence."""
        try:
            async with asyncio.timeout(self._timeout_seconds) as self._timeout:
                return await self._request(body)
        except TimeoutError:
            return f"no response in {self._timeout_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._timeout = None

    async def _request(self, body: bytes) -> int:
        # A stream instead of bytes: aiohttp writes bytes in one call, and warns if they are large.
        stream = io.BytesIO(body)
        async with self._session.post(self.url, data=stream, headers=self._headers, allow_redirects=False) as response:
            await response.read()
            return response.status
