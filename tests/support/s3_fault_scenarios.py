"""The S3 faults as named scenarios, and one procedure that measures each of them.

The procedure of a scenario:
- healthy invocations;
- the fault: the first invocation meets it, the next ones find the circuit breaker open;
- S3 recovers;
- the fault again, and SHUTDOWN during it;
- another run in the same /tmp with a healthy S3, after which the records must reconcile.

The measured value is the time that the extension adds after the end of the function. It includes
the platform's buffer of 25 ms: an invocation that is extended only until its end is known costs at
least that.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.end_to_end import arrived_in_s3, to_s3
from support.fault_proxy import ARRIVED, REFUSED, STORED, FaultProxy
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with, clock_from
from support.reconciliation import Ledger, assert_numbered, gaps, ledger
from support.s3_faults import LATENCY_SECONDS, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.end_to_end import Arrived

BUFFER_SECONDS = 0.025
"""Shortest `timeoutMs` of the Telemetry API, in seconds."""
UPLOAD_TIMEOUT_SECONDS = 0.5
"""LOGFERRY_UPLOAD_TIMEOUT of a scenario by default, in seconds."""
HEALTHY, OPEN = 5, 8
"""Number of invocations before the fault, and while the circuit breaker is open (1 s ± 25 %)."""
SETTLE_SECONDS = 0.2
RECOVERY_SECONDS = 20.0


@dataclass(frozen=True)
class Scenario:
    """A fault and its expected consequences."""

    name: str
    fault: Fault
    permanent: bool = False
    """Whether waiting does not help: retries are rare, so records are delivered at SHUTDOWN or by the next run."""
    fails: bool = True
    upload_timeout: float = UPLOAD_TIMEOUT_SECONDS
    tls: bool = False
    clock_jump: float = 0.0
    """Jump of the wall clock during the fault, in seconds."""
    first_limit: float | None = None
    """Maximum extension of the first invocation, in seconds; None: the upload timeout."""


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
    Scenario("silent connection", Fault.SILENT_CONNECTIONS, fails=False, upload_timeout=5, first_limit=1.0),
    Scenario("slow drip", Fault.SLOW_DRIP),
    Scenario("unsolicited 100 Continue", Fault.CONTINUE, fails=False, first_limit=0.0),
    Scenario("chunked response", Fault.CHUNKED, fails=False, first_limit=0.0),
    Scenario("chunked response with status 503", Fault.CHUNKED_ERROR),
    Scenario("endless response with status 503", Fault.ENDLESS),
    Scenario("bucket in another region", Fault.OTHER_REGION, fails=False, first_limit=0.0),
    Scenario("clock an hour fast", Fault.CLOCK_SKEW, fails=False, clock_jump=3600.0, first_limit=0.0),
    Scenario("untrusted certificate", Fault.UNTRUSTED_CERTIFICATE, tls=True),
    Scenario("certificate for another name", Fault.WRONG_NAME, tls=True),
    Scenario("no TLS", Fault.NO_TLS, tls=True),
    Scenario("HTML with status 200", Fault.HTML),
    Scenario("HTML with status 502", Fault.HTML_ERROR),
    Scenario("empty response with status 200", Fault.EMPTY_OK),
)


@dataclass(frozen=True)
class Result:
    """Measurements of a scenario, in seconds."""

    scenario: Scenario
    healthy: float
    first: float
    open: float
    refusals: int
    """Requests of the first invocation that the proxy has refused."""
    attempts_while_open: int
    shutdown: float
    left: int
    """Number of segments that SHUTDOWN left on disk."""
    messages: tuple[str, ...]
    """Messages of the extension in its first run."""
    account: Ledger
    objects: tuple[Arrived, ...]

    @property
    def gaps(self) -> dict[str, list[int]]:
        """Return the segment numbers that are missing at the end."""
        return gaps(self.objects)


async def run(scenario: Scenario, *, s3: S3Server, bucket: str, directory: Path) -> Result:
    """Run the procedure of a scenario."""
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
        clock = directory / "clock"
        command = boot_with(clock_from(clock)) if scenario.clock_jump else None

        async def set_fault(fault: Fault) -> None:
            await proxy.set_fault(fault)
            platform.clock_offset = scenario.clock_jump * (fault is not Fault.NONE)
            clock.write_text(str(platform.clock_offset))

        async with BareLambda(settings, command=command) as platform:
            await platform.start()
            await _invoke(platform, "warm")
            healthy = [await _invoke(platform, f"healthy {n}") for n in range(HEALTHY)]
            await set_fault(scenario.fault)
            first = await _invoke(platform, "first")
            refusals = proxy.count(REFUSED)
            before = proxy.count(ARRIVED)
            opened = [await _invoke(platform, f"open {n}") for n in range(OPEN if scenario.fails else 1)]
            attempts = proxy.count(ARRIVED) - before
            await set_fault(Fault.NONE)
            if not scenario.permanent:
                await _recover(platform, spool)
            await set_fault(scenario.fault)
            await _invoke(platform, "again")
            took = await platform.shutdown()
            left = _sealed(spool)
            messages = tuple(platform.extension.output)
            await set_fault(Fault.NONE)
            await platform.start()
            await _invoke(platform, "next run")
            await platform.shutdown()
            objects = tuple(await arrived_in_s3(s3, bucket))
            account = ledger(platform, objects, spool)
    assert_numbered(objects)
    return Result(
        scenario=scenario,
        healthy=statistics.median(healthy),
        first=first,
        open=statistics.median(opened),
        refusals=refusals,
        attempts_while_open=attempts,
        shutdown=took,
        left=left,
        messages=messages,
        account=account,
        objects=objects,
    )


def _sealed(spool: Path) -> int:
    """Return the number of segments that wait for their upload."""
    return sum(len(list(spool.glob(pattern))) for pattern in ("*.sealed", "*.last"))


async def _invoke(platform: BareLambda, line: str) -> float:
    return await platform.invoke([line], buffer_seconds=BUFFER_SECONDS)


async def _recover(platform: BareLambda, spool: Path) -> None:
    """Run invocations until the circuit breaker has allowed a trial and no segment waits."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            await _invoke(platform, "recovering")
            if not _sealed(spool):
                return
            await asyncio.sleep(SETTLE_SECONDS)


__all__ = ["LATENCY_SECONDS", "SCENARIOS", "STORED", "Result", "Scenario", "run"]
