"""Fixtures of the sinks' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.s3_stub import closing_sinks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def closed_sinks() -> AsyncIterator[None]:
    """Close the sinks of `s3_sink` after the test, whatever its result."""
    async with closing_sinks():
        yield
