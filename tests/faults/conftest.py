"""Fixtures of the fault tests: a fault proxy in front of the real S3 server, and where the extension spools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from support.fault_proxy import FaultProxy
from support.s3_environment import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server


@pytest_asyncio.fixture
async def scene(s3: S3Server, bucket: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Give an S3 that can be broken."""
    async with FaultProxy(s3.endpoint_url) as proxy:
        yield Scene(s3, bucket, proxy, tmp_path / "spool")
