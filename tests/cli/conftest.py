"""Fixtures of the commands' tests: an S3 server with 20 ms of latency, and an empty cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import pytest_asyncio

from support.fault_proxy import FaultProxy
from support.s3_faults import Fault
from support.stored_logs import store_in_s3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from logferry.records.model import StoredObject


@dataclass(frozen=True)
class StoredBucket:
    """A bucket of the real S3 server behind a proxy, and the environment of a reader."""

    s3: S3Server
    bucket: str
    proxy: FaultProxy
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The destination of the objects."""
        return f"s3://{self.bucket}/logs"

    async def store(self, objects: Iterable[StoredObject]) -> None:
        """Store objects below the prefix, without the proxy."""
        await store_in_s3(self.s3, self.bucket, [each._replace(key=f"logs/{each.key}") for each in objects])

    def requests(self, suffix: str = ".gz") -> list[str]:
        """Return the keys of the requests for objects that the proxy has received."""
        received = [unquote(each.key) for each in self.proxy.stages if each.stage == "arrived"]
        return [key for key in received if key.endswith(suffix)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache for this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "logferry"


@pytest_asyncio.fixture
async def stored(
    s3: S3Server, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StoredBucket]:
    """Provide a bucket behind 20 ms of latency, with the rights of a reader in the environment."""
    async with FaultProxy(s3.endpoint_url) as proxy:
        await proxy.set_fault(Fault.NEARBY)
        environment = s3.environment(s3.admin) | {
            "AWS_ENDPOINT_URL_S3": proxy.endpoint_url,
            "XDG_CACHE_HOME": str(cache.parent),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield StoredBucket(s3, bucket, proxy, environment)
