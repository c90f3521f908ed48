"""Fixtures of the fault tests: a fault proxy in front of the real S3 server, and a spool directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from support.fault_proxy import FaultProxy
from support.s3_environment import S3Environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server


@pytest_asyncio.fixture
async def s3_env(s3: S3Server, bucket: str, tmp_path: Path) -> AsyncIterator[S3Environment]:
    """Provide an S3 server whose faults a test can choose."""
    async with FaultProxy(s3.endpoint_url) as proxy:
        yield S3Environment(s3, bucket, proxy, tmp_path / "spool")
