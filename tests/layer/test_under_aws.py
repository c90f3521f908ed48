"""The built layer under AWS's emulator, in both of its modes. The tree is at /opt there, as on Lambda."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import pytest

from support.aws_emulator import LINE_PER_INVOCATION
from support.layer_roots import BUILD_SECONDS, built_layer, function_lines, needs_apt

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.emulator.s3_server import S3Server
    from support.aws_emulator import AwsEmulator

Mode = Literal["classic", "managed-instances"]

pytestmark = [needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


@pytest.fixture
def emulator_with_layer(aws_emulator: type[AwsEmulator], s3: S3Server, bucket: str) -> Callable[[Mode], AwsEmulator]:
    """Return a function that creates AWS's emulator of a mode, with the built layer as its extension."""
    opt = built_layer().tree
    return lambda mode: aws_emulator(
        mode=mode,
        bootstrap=LINE_PER_INVOCATION,
        extensions={"logferry": opt / "extensions/logferry"},
        mounts={"/opt/logferry": opt / "logferry"},
        environment={**s3.environment(), "LOGFERRY_DESTINATION": f"s3://{bucket}/logs"},
    )


async def test_layer_is_accepted_in_classic_mode(emulator_with_layer: Callable[[Mode], AwsEmulator]) -> None:
    """AWS's supervisor executes the launcher and registers it. This mode has no telemetry."""
    async with emulator_with_layer("classic") as aws:
        assert [await aws.invoke(number) for number in range(2)] == [(200, b"0"), (200, b"1")]
        assert await aws.shutdown() == 0
        assert [line for line in aws.output if "Telemetry.NotSupported" in line]
        assert not [
            line for line in aws.output if "Extension.Crash" in line or "LaunchError" in line or "SIGKILL" in line
        ]


async def test_layer_ships_records_from_managed_instances(
    emulator_with_layer: Callable[[Mode], AwsEmulator], s3: S3Server, bucket: str
) -> None:
    """As uid 993 and with AWS's telemetry, S3 has each line of twenty concurrent invocations once."""
    async with emulator_with_layer("managed-instances") as aws:
        responses = await asyncio.gather(*(aws.invoke(number) for number in range(20)))
        assert [status for status, _ in responses] == [200] * 20
        assert await aws.shutdown() == 0
    lines = [line.strip() for line in await function_lines(s3, bucket)]
    assert sorted(lines) == sorted(f"line of {number}" for number in range(20))
