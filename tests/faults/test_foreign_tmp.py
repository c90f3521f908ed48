"""A /tmp that is not ours alone: not writable, full of garbage, emptied, held by another environment."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from support.lambda_stub import BareLambda
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.reconciliation import assert_balanced, gaps, kind_of, lines_of
from support.tmpfs import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.s3_environment import Scene


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Give a directory nobody can write to, not even root."""
    with mounted(tmp_path / "read-only", "ro,size=64k") as disk:
        yield disk


async def test_a_tmp_that_cannot_be_written_harms_nothing_and_is_said_once(scene: Scene, read_only: Path) -> None:
    """A read-only disk: invocations are not held longer, records go from memory to S3, one message says why."""
    settings = scene.settings(LOGFERRY_SPOOL_DIR=str(read_only / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        life = await platform.start()
        shipper = life.shipper
        held = [await platform.invoke([f"line {n}"], seconds=5) for n in range(5)]
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), read_only / "spool")
    assert max(held[1:]) < 2
    assert lines_of(objects) == [f"line {n}" for n in range(5)]
    assert len(life.output) == 1, life.output
    assert gaps(objects) == {}


async def test_a_spool_that_is_a_file_harms_nothing_and_is_said_once(scene: Scene) -> None:
    """Somebody's file has the spool's name: it is left alone, records go from memory to S3."""
    scene.spool.write_text("a file of the function's")
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"], seconds=5)
        await platform.shutdown()
        objects = await scene.arrived()
    assert scene.spool.read_text() == "a file of the function's"
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
    assert len(life.output) == 1, life.output


def _older_version(spool: Path) -> None:
    (spool / "1790000000000-0123456789abcdef-00000001.open").write_bytes(b"logferry segment 0\nanother format")
    (spool / "1790000000000-0123456789abcdef-00000002.sealed").write_bytes(b"logferry segment 0\nanother format")


def _names_of_ours(spool: Path) -> None:
    (spool / "1790000000000-0123456789abcdef-00000001.open").mkdir()
    (spool / "1790000000000-0123456789abcdef-00000002.sealed").mkdir()
    (spool / "1790000000000-0123456789abcdef-00000003.sealed").symlink_to(spool / "nowhere")
    (spool / "1790000000000-0123456789abcdef-00000004.open").symlink_to(spool / "nowhere")


def _noise(spool: Path) -> None:
    for number in range(200):
        (spool / f"{number}.tmp").write_bytes(os.urandom(100))
    (spool / "1790000000000-0123456789abcdef-00000001.sealed").write_bytes(os.urandom(5000))
    (spool / "1790000000000-0123456789abcdef-00000002.open").write_bytes(b"")
    (spool / ("9" * 40)).write_text("x")
    os.mkfifo(spool / "1790000000000-0123456789abcdef-00000003.sealed")


GARBAGE: dict[str, Callable[[Path], None]] = {
    "a journal of an older version": _older_version,
    "directories and links with names of ours": _names_of_ours,
    "noise": _noise,
    "a lock that is a directory": lambda spool: (spool / "lock").mkdir(),
    "a path token that is a directory": lambda spool: (spool / "path-token").mkdir(),
    "a path token with foreign content": lambda spool: _write(spool / "path-token", "/../../etc HTTP/1.1\r\nX: y"),
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("what", GARBAGE)
async def test_a_spool_with_garbage_in_it_works(scene: Scene, what: str) -> None:
    """Whatever lies in the spool: the shipper starts, ships what is ours, and leaves alone what is not."""
    scene.spool.mkdir()
    GARBAGE[what](scene.spool)
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation")) as platform:
        life = await platform.start()
        shipper = life.shipper
        for number in range(3):
            await platform.invoke([f"line {number}"], seconds=5)
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        objects = await scene.arrived()
    assert [line for line in lines_of(objects) if line.startswith("line")] == ["line 0", "line 1", "line 2"]
    if what == "a journal of an older version":
        lost = [r for one in objects for r in one.records if kind_of(r) == "logferry.dropped"]
        kept = list(scene.spool.glob("*0123456789abcdef*"))
        assert len(lost) + len(kept) == 2, "it is either left alone or reported"


async def test_a_function_that_empties_tmp_costs_no_more_than_what_was_there(scene: Scene) -> None:
    """`rm -rf /tmp/*` in a handler: what waits is written anew from the open file, numbers go on, nothing dies."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_FLUSH_INVOCATIONS="2")) as platform:
        life = await platform.start()
        shipper = life.shipper
        for number in range(6):
            held = asyncio.create_task(platform.hand_out(invoke_event(f"r{number}", seconds=5)))
            await platform.deliver(batch(start(f"r{number}"), function(f"line {number}")))
            shutil.rmtree(scene.spool, ignore_errors=True)
            await platform.deliver(batch(runtime_done(f"r{number}"), report_of(f"r{number}")))
            assert await held < 4
        assert life.shipper == shipper, life.output
        await platform.shutdown()
        assert_balanced(platform, objects := await scene.arrived(), scene.spool)
    assert lines_of(objects) == [f"line {n}" for n in range(6)]
    assert gaps(objects) == {}


async def test_a_spool_another_environment_holds_is_left_to_it_and_what_waits_beside_is_shipped(scene: Scene) -> None:
    """Two extensions on one /tmp: the second spools beside, and what it leaves there is found by a later life."""
    first = BareLambda(scene.settings(LOGFERRY_FLUSH="time"))
    second = BareLambda(scene.settings(LOGFERRY_FLUSH="time"))
    async with first, second:
        await first.start()
        await first.invoke(["first"])
        await second.start()
        await second.invoke(["second"])
        await second.kill_group()
        await first.shutdown()
        await first.start()
        await first.invoke(["later"])
        await first.shutdown()
        objects = await scene.arrived()
    assert sorted(lines_of(objects)) == ["first", "later", "second"]
