"""What a fault test acts on: an S3 that can be broken, a bucket in it, and a spool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.end_to_end import Arrived, arrived_in_s3, to_s3
from support.reconciliation import assert_balanced
from support.s3_faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.fault_proxy import FaultProxy
    from support.lambda_stub import BareLambda


@dataclass(frozen=True)
class Scene:
    """An S3 that can be broken, a bucket in it, and a spool."""

    s3: S3Server
    bucket: str
    proxy: FaultProxy
    spool: Path

    def settings(self, **more: str) -> dict[str, str]:
        """Settings that ship to the bucket through the proxy."""
        return {
            **to_s3(self.s3, self.bucket),
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint_url,
            "LOGFERRY_SPOOL_DIR": str(self.spool),
            **more,
        }

    async def arrived(self) -> list[Arrived]:
        """Every object of the bucket."""
        return await arrived_in_s3(self.s3, self.bucket)

    async def next_life(self, platform: BareLambda) -> list[Arrived]:
        """S3 works again, and another life in the same /tmp ships what the last one left, all of it."""
        await self.proxy.set_fault(Fault.NONE)
        await platform.start()
        await platform.invoke(["next life"])
        await platform.shutdown()
        stock = assert_balanced(platform, objects := await self.arrived(), self.spool)
        assert not stock.waiting, stock
        return objects
