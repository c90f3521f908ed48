"""The extension under AWS's own emulator (the binary of `aws-sam-cli`), in both modes, in a separate root."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from logferry.cli.run import argv
from support.aws_emulator import LINE_PER_INVOCATION
from support.end_to_end import arrived_in_s3, lines_of, records_of, to_s3

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator

LAUNCHER = "#!/bin/sh\nexec " + shlex.join(argv()) + "\n"


async def test_classic_mode_without_telemetry_is_reported_once(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str
) -> None:
    """In classic mode the status of the subscription is 202: the function works, and logferry ends at SHUTDOWN."""
    async with aws_emulator(
        mode="classic", bootstrap=LINE_PER_INVOCATION, extensions={"logferry": LAUNCHER}, environment=to_s3(s3, bucket)
    ) as aws:
        for number in range(3):
            assert await aws.invoke(f"classic {number}") == (200, f'"classic {number}"'.encode())
        assert await aws.shutdown() == 0
        messages = [line for line in aws.output if "the Telemetry API is not available" in line]
        assert len(messages) == 1
        assert "Telemetry.NotSupported" in messages[0]
        assert not [line for line in aws.output if "Extension.Crash" in line or "SIGKILL" in line]
    assert await arrived_in_s3(s3, bucket) == []


async def test_managed_instances_mode_stores_fifty_concurrent_invocations(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """As uid 993, every line of fifty invocations, four at a time, is stored once."""
    spool = tmp_path / "spool"
    spool.mkdir()
    settings = to_s3(s3, bucket, LOGFERRY_SPOOL_DIR="/spool/logferry", LOGFERRY_FLUSH_SECONDS="1")
    async with aws_emulator(
        mode="managed-instances",
        bootstrap=LINE_PER_INVOCATION,
        extensions={"logferry": LAUNCHER},
        environment=settings,
        writable={"/spool": spool},
        max_concurrency=4,
    ) as aws:
        answers = await asyncio.gather(*(aws.invoke(f"managed {n}") for n in range(50)))
        assert answers == [(200, f'"managed {n}"'.encode()) for n in range(50)]
        assert await aws.shutdown() == 0
    objects = await arrived_in_s3(s3, bucket)
    assert sorted(lines_of(objects)) == sorted(f'line of "managed {n}"' for n in range(50))
    assert sum(r["type"] == "platform.report" for r in records_of(objects)) == 50
    assert [o.metadata.get("final") for o in objects][-1] == "true"
    assert not [r for r in records_of(objects) if r["type"] == "platform.logsDropped"]
