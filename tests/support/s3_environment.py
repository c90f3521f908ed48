"""An S3 server behind a fault proxy, a bucket in it, and a spool directory: the surroundings of a fault test."""

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
class S3Environment:
    """An S3 server behind a fault proxy, a bucket in it, and a spool directory."""

    s3: S3Server
    bucket: str
    proxy: FaultProxy
    spool: Path

    def settings(self, **more: str) -> dict[str, str]:
        """Return settings that store objects in the bucket through the proxy."""
        return {
            **to_s3(self.s3, self.bucket),
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint_url,
            "LOGFERRY_SPOOL_DIR": str(self.spool),
            **more,
        }

    async def arrived(self) -> list[Arrived]:
        """Return all objects of the bucket."""
        return await arrived_in_s3(self.s3, self.bucket)

    async def ship_leftovers(self, platform: BareLambda) -> list[Arrived]:
        """Remove the fault and run the extension again in the same /tmp; all records left there must be stored."""
        await self.proxy.set_fault(Fault.NONE)
        await platform.start()
        await platform.invoke(["next run"])
        await platform.shutdown()
        account = assert_balanced(platform, objects := await self.arrived(), self.spool)
        assert not account.waiting, account
        return objects
