"""The S3 faults as named scenarios: what S3 does, what it may cost, and one procedure that measures all of them.

The procedure: some healthy invocations; the fault; one invocation meets it, the next find the breaker open; S3
recovers; the fault again; SHUTDOWN under it; another life of the same /tmp with a healthy S3. Then the ledger must
balance.
Measured is the time that the extension adds behind the end of the function, with the platform's buffer of 25 ms: an
invocation that is held only to learn that it has ended costs at least that.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.end_to_end import arrived_in_s3, to_s3
from support.fault_proxy import ARRIVED, STORED, FaultProxy
from support.lambda_stub import BareLambda
from support.reconciliation import Ledger, assert_numbered, gaps, ledger
from support.s3_faults import LATENCY_SECONDS, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.end_to_end import Arrived

BUFFER_SECONDS = 0.025
"""The Telemetry API's shortest `timeoutMs`."""
UPLOAD_TIMEOUT_SECONDS = 0.5
"""LOGFERRY_UPLOAD_TIMEOUT of the scenarios, where they do not say otherwise."""
HEALTHY, OPEN = 5, 8
"""Invocations before the fault, and while the breaker is open (1 s, give or take a quarter)."""
SETTLE_SECONDS = 0.2
RECOVERY_SECONDS = 20.0


@dataclass(frozen=True)
class Scenario:
    """A fault, and what is expected of it."""

    name: str
    fault: Fault
    permanent: bool = False
    """Nothing passes by waiting: tried again rarely, so what waits is delivered at SHUTDOWN or by the next life."""
    fails: bool = True
    upload_timeout: float = UPLOAD_TIMEOUT_SECONDS
    tls: bool = False


SCENARIOS = (
    Scenario("latency of 1.5 s", Fault.LATENCY, fails=False, upload_timeout=5),
    Scenario("latency above the upload timeout", Fault.LATENCY),
    Scenario("hang", Fault.HANG),
    Scenario("500", Fault.INTERNAL_ERROR),
    Scenario("503 SlowDown", Fault.SLOW_DOWN),
    Scenario("403", Fault.ACCESS_DENIED, permanent=True),
    Scenario("404", Fault.NO_SUCH_BUCKET, permanent=True),
    Scenario("expired credentials", Fault.EXPIRED_TOKEN, permanent=True),
    Scenario("connection refused", Fault.REFUSED),
    Scenario("reset before storing", Fault.RESET_BEFORE_STORING),
    Scenario("reset after storing", Fault.RESET_AFTER_STORING),
    Scenario("slow drip", Fault.SLOW_DRIP),
    Scenario("untrusted certificate", Fault.UNTRUSTED_CERTIFICATE, tls=True),
    Scenario("no TLS", Fault.NO_TLS, tls=True),
    Scenario("HTML with status 200", Fault.HTML),
    Scenario("HTML with status 502", Fault.HTML_ERROR),
    Scenario("empty answer with status 200", Fault.EMPTY_OK),
)


@dataclass(frozen=True)
class Result:
    """What a scenario measured; seconds."""

    scenario: Scenario
    healthy: float
    first: float
    open: float
    attempts_while_open: int
    shutdown: float
    left: int
    """Segments that SHUTDOWN left on disk."""
    said: tuple[str, ...]
    """The extension's own messages in its first life."""
    stock: Ledger
    objects: tuple[Arrived, ...]

    @property
    def gaps(self) -> dict[str, list[int]]:
        """Numbers that are missing at the end."""
        return gaps(self.objects)


async def run(scenario: Scenario, *, s3: S3Server, bucket: str, directory: Path) -> Result:
    """Go through the procedure."""
    spool = directory / "spool"
    certificates = directory / "certificates" if scenario.tls else None
    async with FaultProxy(s3.endpoint_url, certificates=certificates) as proxy:
        settings = {
            **to_s3(s3, bucket),
            "AWS_ENDPOINT_URL_S3": proxy.endpoint_url,
            "LOGFERRY_SPOOL_DIR": str(spool),
            "LOGFERRY_FLUSH": "invocation",
            "LOGFERRY_UPLOAD_TIMEOUT": f"{scenario.upload_timeout:g}",
        }
        if scenario.tls:
            settings["AWS_CA_BUNDLE"] = str(proxy.trusted)
        async with BareLambda(settings) as platform:
            await platform.start()
            await _invoke(platform, "warm")
            healthy = [await _invoke(platform, f"healthy {n}") for n in range(HEALTHY)]
            await proxy.set_fault(scenario.fault)
            first = await _invoke(platform, "first")
            before = proxy.count(ARRIVED)
            opened = [await _invoke(platform, f"open {n}") for n in range(OPEN if scenario.fails else 1)]
            attempts = proxy.count(ARRIVED) - before
            await proxy.set_fault(Fault.NONE)
            if not scenario.permanent:
                await _recover(platform, spool)
            await proxy.set_fault(scenario.fault)
            await _invoke(platform, "again")
            took = await platform.shutdown()
            left = _sealed(spool)
            said = tuple(platform.life.output)
            await proxy.set_fault(Fault.NONE)
            await platform.start()
            await _invoke(platform, "next life")
            await platform.shutdown()
            objects = tuple(await arrived_in_s3(s3, bucket))
            stock = ledger(platform, objects, spool)
    assert_numbered(objects)
    return Result(
        scenario=scenario,
        healthy=statistics.median(healthy),
        first=first,
        open=statistics.median(opened),
        attempts_while_open=attempts,
        shutdown=took,
        left=left,
        said=said,
        stock=stock,
        objects=objects,
    )


def _sealed(spool: Path) -> int:
    """How many segments wait for their upload."""
    return sum(len(list(spool.glob(pattern))) for pattern in ("*.sealed", "*.last"))


async def _invoke(platform: BareLambda, line: str) -> float:
    return await platform.invoke([line], buffer_seconds=BUFFER_SECONDS)


async def _recover(platform: BareLambda, spool: Path) -> None:
    """Invocations until the breaker has allowed a trial and nothing waits any more."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            await _invoke(platform, "recovering")
            if not _sealed(spool):
                return
            await asyncio.sleep(SETTLE_SECONDS)


__all__ = ["LATENCY_SECONDS", "SCENARIOS", "STORED", "Result", "Scenario", "run"]
