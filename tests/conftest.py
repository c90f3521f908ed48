"""Fixtures of the judges from outside: a real S3 server, a bucket of its own for every test, and AWS's own emulator."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from logferry.emulator.s3_server import S3Server
from support import aws_emulator as aws
from support import aws_emulator_wheel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3() -> AsyncIterator[S3Server]:
    """Give one S3 server to the whole run: started by the first test that asks, killed after the last."""
    async with S3Server(buckets=("logs",), writable=("logs", "test-*")) as server:
        yield server


@pytest_asyncio.fixture
async def bucket(s3: S3Server) -> AsyncIterator[str]:
    """Give the name of an empty bucket that the shipper may write to and no other test sees."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await s3.create_bucket(name)
    yield name
    await s3.delete_bucket(name)


@pytest.fixture(scope="session")
def aws_emulator() -> type[aws.AwsEmulator]:
    """Give AWS's own emulator, fetched; or skip, and say what this machine lacks for it."""
    if reason := aws.why_unavailable():
        pytest.skip(f"AWS's emulator cannot run here: {reason}")
    aws_emulator_wheel.fetch()
    return aws.AwsEmulator
