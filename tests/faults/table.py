"""The table of S3 faults and their costs: `python -m faults.table` in the directory `tests`.

Every row is measured in this run, against a real S3 server behind the fault proxy. `--markdown`
prints the table of README.md in this directory.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import uuid
from pathlib import Path

from logferry.emulator.s3_server import S3Server
from support.s3_fault_scenarios import SCENARIOS, Result, Scenario, run

HEAD = ("fault", "first, ms", "then, ms", "delivered", "lost", "twice", "SHUTDOWN, ms", "left in /tmp")


async def main() -> int:
    """Run every scenario; return 1 if the records of a scenario do not reconcile."""
    async with S3Server(buckets=(), writable=("faults-*",)) as s3:
        results = [await _measured(scenario, s3) for scenario in SCENARIOS]
    rows = [HEAD, *map(_row, results)]
    print("\n".join(_markdown(rows) if "--markdown" in sys.argv else _columns(rows)))
    return int(any(r.account.missing or r.account.twice or r.account.waiting for r in results))


async def _measured(scenario: Scenario, s3: S3Server) -> Result:
    """Run one scenario. Scenarios run one after the other, because concurrent ones would disturb each other."""
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    await s3.create_bucket(bucket)
    with tempfile.TemporaryDirectory() as directory:
        return await run(scenario, s3=s3, bucket=bucket, directory=Path(directory))


def _row(result: Result) -> tuple[str, ...]:
    account = result.account
    return (
        result.scenario.name,
        f"{result.first * 1000:.0f}",
        f"{result.open * 1000:.1f}",
        f"{(account.accepted - account.missing - account.waiting).total()} of {account.accepted.total()}",
        str(account.missing.total()),
        str(account.twice.total()),
        f"{result.shutdown * 1000:.0f}",
        f"{result.left} objects" if result.left else "",
    )


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _markdown(rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(HEAD), *lines[1:]]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
