"""Prints the table of S3 faults and what they cost: `python -m faults.table` in the directory `tests`.

Every line is measured in this run, against a real S3 server behind the fault proxy. `--markdown` is what the README
carries.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import uuid
from pathlib import Path

from logferry.emulator.s3_server import S3Server
from support.s3_fault_scenarios import SCENARIOS, Result, Scenario, run

HEAD = ("S3 does this", "first, ms", "then, ms", "delivered", "lost", "twice", "SHUTDOWN, ms", "left to the next life")


async def main() -> int:
    """Run every scenario; 1 when a ledger does not balance."""
    async with S3Server(buckets=(), writable=("faults-*",)) as s3:
        results = [await _measured(scenario, s3) for scenario in SCENARIOS]
    rows = [HEAD, *map(_row, results)]
    print("\n".join(_markdown(rows) if "--markdown" in sys.argv else _columns(rows)))
    return int(any(r.stock.missing or r.stock.twice or r.stock.waiting for r in results))


async def _measured(scenario: Scenario, s3: S3Server) -> Result:
    """One after the other: side by side they would disturb each other's measurements."""
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    await s3.create_bucket(bucket)
    with tempfile.TemporaryDirectory() as directory:
        return await run(scenario, s3=s3, bucket=bucket, directory=Path(directory))


def _row(result: Result) -> tuple[str, ...]:
    stock = result.stock
    return (
        result.scenario.name,
        f"{result.first * 1000:.0f}",
        f"{result.open * 1000:.1f}",
        f"{(stock.accepted - stock.missing - stock.waiting).total()} of {stock.accepted.total()}",
        str(stock.missing.total()),
        str(stock.twice.total()),
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
