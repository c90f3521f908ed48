"""Fixtures of the whole test suite: a real S3 server, an empty bucket for each test, and AWS's own emulator."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING

import botocore.session
import pytest
import pytest_asyncio
import typer.main
import typer.testing

from logferry.emulator.s3_server import S3Server
from support import aws_emulator as aws
from support import aws_emulator_wheel
from support.s3_stub import closing_sinks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session", autouse=True)
def shared_service_models() -> Iterator[None]:
    """Read the service models of the AWS SDK once for the whole run, as one session of the SDK does for its clients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_command() -> Iterator[None]:
    """Make the command line once for the whole run. Making it takes longer than most commands of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3() -> AsyncIterator[S3Server]:
    """Start one S3 server for the whole run, on the first request for it, and stop it after the last test."""
    async with S3Server(buckets=("logs",), writable=("logs", "test-*")) as server:
        yield server


@pytest_asyncio.fixture
async def bucket(s3: S3Server) -> AsyncIterator[str]:
    """Provide the name of an empty bucket that the shipper may write to and that no other test uses."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await s3.create_bucket(name)
    yield name
    await s3.delete_bucket(name)


@pytest.fixture(scope="session")
def aws_emulator() -> type[aws.AwsEmulator]:
    """Download AWS's own emulator, or skip the test and report what this machine lacks for it."""
    if reason := aws.why_unavailable():
        pytest.skip(f"AWS's emulator cannot run here: {reason}")
    aws_emulator_wheel.fetch()
    return aws.AwsEmulator


@pytest.fixture
async def closed_sinks() -> AsyncIterator[None]:
    """Close the sinks of `s3_sink` after the test, whatever its result."""
    async with closing_sinks():
        yield
