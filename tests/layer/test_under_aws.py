"""The built layer under AWS's own emulator, in both of its modes: the tree stands at /opt there, as on Lambda."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.aws_emulator import LINE_PER_INVOCATION
from support.layer_roots import BUILD_SECONDS, built_layer, function_lines, needs_apt

if TYPE_CHECKING:
    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator

pytestmark = [needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


async def test_the_layer_lives_through_classic_mode(aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str) -> None:
    """AWS's supervisor executes the launcher and takes its registration; it has no telemetry to give in this mode."""
    opt = built_layer().tree
    async with aws_emulator(
        mode="classic",
        bootstrap=LINE_PER_INVOCATION,
        extensions={"logferry": opt / "extensions/logferry"},
        mounts={"/opt/logferry": opt / "logferry"},
        environment={**s3.environment(), "LOGFERRY_DESTINATION": f"s3://{bucket}/logs"},
    ) as aws:
        assert [await aws.invoke(number) for number in range(2)] == [(200, b"0"), (200, b"1")]
        assert await aws.shutdown() == 0
        assert [line for line in aws.output if "Telemetry.NotSupported" in line]
        assert not [
            line for line in aws.output if "Extension.Crash" in line or "LaunchError" in line or "SIGKILL" in line
        ]


async def test_the_layer_ships_from_managed_instances(
    aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str
) -> None:
    """As uid 993, with AWS's own telemetry: every line of twenty invocations, two at a time, is in S3 once."""
    opt = built_layer().tree
    async with aws_emulator(
        mode="managed-instances",
        bootstrap=LINE_PER_INVOCATION,
        extensions={"logferry": opt / "extensions/logferry"},
        mounts={"/opt/logferry": opt / "logferry"},
        environment={**s3.environment(), "LOGFERRY_DESTINATION": f"s3://{bucket}/logs"},
    ) as aws:
        answers = await asyncio.gather(*(aws.invoke(number) for number in range(20)))
        assert [status for status, _ in answers] == [200] * 20
        assert await aws.shutdown() == 0
    lines = [line.strip() for line in await function_lines(s3, bucket)]
    assert sorted(lines) == sorted(f"line of {number}" for number in range(20))
