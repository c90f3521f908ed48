"""Each flush policy against the real S3 server, verified by reading the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.end_to_end import arrived_in_s3, assert_exactly_once, environment, lines_of, to_s3

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.lambda_service import Lambda
    from logferry.emulator.s3_server import S3Server


async def _invoke_and_idle(service: Lambda, count: int, *, first: int = 0, **event: int) -> None:
    """Run invocations with the markers `i0`, `i1`, and so on, and wait for an idle environment after each."""
    for number in range(first, first + count):
        await service.invoke({"marker": f"i{number}", **event})
        await service.wait_idle()


async def test_invocation_policy_stores_one_object_per_invocation(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """Each object is stored before the environment is idle, and the rest at SHUTDOWN."""
    async with environment(tmp_path, to_s3(s3, bucket, LOGFERRY_FLUSH="invocation")) as service:
        for number in range(4):
            await service.invoke({"lines": 3, "marker": f"i{number}"})
            await service.wait_idle()
            objects = await arrived_in_s3(s3, bucket)
            assert len(objects) == number + 1
            assert lines_of(objects[-1:]) == [f"i{number}-{line}" for line in range(3)]
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert len(objects) == 5
    assert [r["type"] for r in objects[-1].records] == ["platform.report"]
    assert_exactly_once(service, objects)


async def test_invocation_policy_with_a_count_of_three_stores_three_per_object(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """`LOGFERRY_FLUSH_INVOCATIONS=3`: seven invocations give two objects, and SHUTDOWN stores the rest."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation", LOGFERRY_FLUSH_INVOCATIONS="3")
    async with environment(tmp_path, settings) as service:
        await _invoke_and_idle(service, 7)
        assert [lines_of([o]) for o in await arrived_in_s3(s3, bucket)] == [
            ["i0-0", "i1-0", "i2-0"],
            ["i3-0", "i4-0", "i5-0"],
        ]
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert lines_of(objects[-1:]) == ["i6-0"]
    assert_exactly_once(service, objects)


async def test_time_policy_stores_old_records_with_the_next_invocation(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """The age is checked at INVOKE, so that after a pause the object contains that invocation too."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_SECONDS="3")
    async with environment(tmp_path, settings) as service:
        await service.invoke({"marker": "first"})
        await service.wait_idle()
        assert await arrived_in_s3(s3, bucket) == []
        await service.idle_for(3.3)  # longer than loading takes on a busy machine
        await service.invoke({"marker": "second"})
        await service.wait_idle()
        assert lines_of(await arrived_in_s3(s3, bucket)) == ["first-0", "second-0"]
        await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))


async def test_time_policy_stores_during_a_long_invocation(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """A timer makes a flush due during a long invocation, while the function runs."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_SECONDS="0.5")
    async with environment(tmp_path, settings, timeout_seconds=10) as service:
        await service.invoke({"marker": "first"})  # loading, which pauses during an invocation, is complete after it
        await service.invoke({"lines": 2, "marker": "long", "sleep_ms": 2500})
        objects_when_answered = await arrived_in_s3(s3, bucket)
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert lines_of(objects_when_answered) == ["first-0", "long-0", "long-1"]
    assert_exactly_once(service, objects)


async def test_size_policy_stores_at_the_threshold(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """No object is stored before the threshold is reached, independent of the number of invocations."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="size", LOGFERRY_FLUSH_BYTES="20KiB")
    async with environment(tmp_path, settings) as service:
        await _invoke_and_idle(service, 3, lines=40, bytes=100)
        assert await arrived_in_s3(s3, bucket) == []
        await _invoke_and_idle(service, 9, first=3, lines=40, bytes=100)
        before_the_end = await arrived_in_s3(s3, bucket)
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert 1 <= len(before_the_end) <= 4
    assert_exactly_once(service, objects)


async def test_adaptive_policy_stores_the_first_invocation_and_batches_a_burst(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    """The first invocation is stored at its end; invocations in close succession share an object."""
    async with environment(tmp_path, to_s3(s3, bucket)) as service:
        await service.invoke({"marker": "one-shot"})
        await service.wait_idle()
        assert lines_of(await arrived_in_s3(s3, bucket)) == ["one-shot-0"]
        for number in range(10):
            await service.invoke({"marker": f"burst{number}"})
        await service.shutdown()
        objects = await arrived_in_s3(s3, bucket)
    assert len(objects) == 2
    assert_exactly_once(service, objects)


async def test_adaptive_policy_stores_each_distant_invocation(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """If fewer than four invocations would share an object, each one is stored at its end."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH_SECONDS="0.8")
    async with environment(tmp_path, settings) as service:
        for number in range(3):
            await service.invoke({"marker": f"far{number}"})
            await service.idle_for(0.4)
            assert len(await arrived_in_s3(s3, bucket)) == number + 1
        await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))


async def test_next_invocation_timing_extends_no_invocation(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """With `next-invocation`, records are uploaded while the next invocation runs, and no invocation is extended."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="invocation", LOGFERRY_FLUSH_TIMING="next-invocation")
    async with environment(tmp_path, settings) as service:
        await service.invoke({"marker": "one"})
        await service.wait_idle()
        assert await arrived_in_s3(s3, bucket) == []
        second = await service.invoke({"marker": "two", "sleep_ms": 900})
        await service.wait_idle()
        assert lines_of(await arrived_in_s3(s3, bucket))[0] == "one-0"
        assert second.post_runtime_ms is not None
        assert second.post_runtime_ms < 100
        await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))


async def test_explicit_threshold_limits_another_policy(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """An explicit threshold applies under every policy: here the number of invocations limits `time`."""
    settings = to_s3(s3, bucket, LOGFERRY_FLUSH="time", LOGFERRY_FLUSH_INVOCATIONS="2")
    async with environment(tmp_path, settings) as service:
        await _invoke_and_idle(service, 4)
        assert [lines_of([o]) for o in await arrived_in_s3(s3, bucket)] == [["i0-0", "i1-0"], ["i2-0", "i3-0"]]
        await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))
