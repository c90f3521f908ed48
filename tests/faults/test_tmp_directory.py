"""A shared /tmp: read-only, full of foreign files, emptied, or used by another environment."""

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

    from support.s3_environment import S3Environment


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Provide a directory that is read-only even for root."""
    with mounted(tmp_path / "read-only", "ro,size=64k") as disk:
        yield disk


async def test_read_only_tmp_extends_no_invocation_and_is_reported_once(s3_env: S3Environment, read_only: Path) -> None:
    """On a read-only disk records go from memory to S3, no invocation is extended, and one message has the reason."""
    settings = s3_env.settings(LOGFERRY_SPOOL_DIR=str(read_only / "spool"), LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        shipper = extension.shipper
        held = [await platform.invoke([f"line {n}"], seconds=5) for n in range(5)]
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), read_only / "spool")
    assert max(held[1:]) < 2
    assert lines_of(objects) == [f"line {n}" for n in range(5)]
    assert len(extension.output) == 1, extension.output
    assert gaps(objects) == {}


async def test_spool_path_that_is_a_file_is_kept_and_reported_once(s3_env: S3Environment) -> None:
    """A file of the function has the name of the spool: it is kept, and records go from memory to S3."""
    s3_env.spool.write_text("a file of the function")
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        for number in range(3):
            await platform.invoke([f"line {number}"], seconds=5)
        await platform.shutdown()
        objects = await s3_env.arrived()
    assert s3_env.spool.read_text() == "a file of the function"
    assert lines_of(objects) == ["line 0", "line 1", "line 2"]
    assert len(extension.output) == 1, extension.output


def _older_version(spool: Path) -> None:
    (spool / "1790000000000-0123456789abcdef-00000001.open").write_bytes(b"logferry segment 0\nanother format")
    (spool / "1790000000000-0123456789abcdef-00000002.sealed").write_bytes(b"logferry segment 0\nanother format")


def _directories_and_links(spool: Path) -> None:
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


FOREIGN_FILES: dict[str, Callable[[Path], None]] = {
    "a journal of an older version": _older_version,
    "directories and links with names of segments": _directories_and_links,
    "noise": _noise,
    "a lock that is a directory": lambda spool: (spool / "lock").mkdir(),
    "a path token that is a directory": lambda spool: (spool / "path-token").mkdir(),
    "a path token with another content": lambda spool: _write(spool / "path-token", "/../../etc HTTP/1.1\r\nX: y"),
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("what", FOREIGN_FILES)
async def test_spool_with_foreign_files_stores_new_records(s3_env: S3Environment, what: str) -> None:
    """The shipper starts with any content of the spool, stores its records, and keeps files that are not its own."""
    s3_env.spool.mkdir()
    FOREIGN_FILES[what](s3_env.spool)
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        shipper = extension.shipper
        for number in range(3):
            await platform.invoke([f"line {number}"], seconds=5)
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        objects = await s3_env.arrived()
    assert [line for line in lines_of(objects) if line.startswith("line")] == ["line 0", "line 1", "line 2"]
    if what == "a journal of an older version":
        lost = [r for one in objects for r in one.records if kind_of(r) == "logferry.dropped"]
        kept = list(s3_env.spool.glob("*0123456789abcdef*"))
        assert len(lost) + len(kept) == 2, "it is either left alone or reported"


async def test_emptied_tmp_loses_no_record_of_the_open_segment(s3_env: S3Environment) -> None:
    """After `rm -rf /tmp/*` in a handler, pending records are written again from the open file."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="invocation", LOGFERRY_FLUSH_INVOCATIONS="2")) as platform:
        extension = await platform.start()
        shipper = extension.shipper
        for number in range(6):
            held = asyncio.create_task(platform.hand_out(invoke_event(f"r{number}", seconds=5)))
            await platform.deliver(batch(start(f"r{number}"), function(f"line {number}")))
            shutil.rmtree(s3_env.spool, ignore_errors=True)
            await platform.deliver(batch(runtime_done(f"r{number}"), report_of(f"r{number}")))
            assert await held < 4
        assert extension.shipper == shipper, extension.output
        await platform.shutdown()
        assert_balanced(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert lines_of(objects) == [f"line {n}" for n in range(6)]
    assert gaps(objects) == {}


async def test_spool_in_use_by_another_environment_is_not_touched_and_leftovers_are_stored(
    s3_env: S3Environment,
) -> None:
    """Two extensions share one /tmp: the second uses another directory, and a later run stores its leftovers."""
    first = BareLambda(s3_env.settings(LOGFERRY_FLUSH="time"))
    second = BareLambda(s3_env.settings(LOGFERRY_FLUSH="time"))
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
        objects = await s3_env.arrived()
    assert sorted(lines_of(objects)) == ["first", "later", "second"]
