"""`logferry tail` on the real S3 server and on a directory: each line once, in order, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.fetch.fetch import fetch, open_source
from logferry.cli.fetch.selection import Selection
from logferry.cli.stored_objects import DestinationError
from logferry.cli.tail.command import Tail, View
from logferry.cli.tail.object_lines import read_lines
from logferry.records import zstd_packing
from support.s3_faults import Fault
from support.stored_logs import invocation, make_object, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import StoredBucket
    from logferry.records.model import StoredObject

SECONDS = 60.0


def new_object(number: int, text: str, *, age: timedelta = timedelta(), function: str = "orders-api") -> StoredObject:
    """Return an object whose invocation began `age` ago."""
    events = invocation(number, datetime.now(UTC) - age, [f"[ERROR]\t{text}"])
    return make_object(events, function=function, environment=number + 1)


async def test_new_records_are_shown_once_and_each_object_is_fetched_once(
    stored: StoredBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    """A late object is marked. A function that does not match is neither listed nor fetched."""
    await stored.store([new_object(0, "from before"), new_object(1, "other function", function="billing")])
    async with open_source(stored.url) as source:
        tail = Tail(source, Selection("orders-*"), View())
        assert await tail.poll() == 0
        lists = source.usage.lists
        await stored.store([new_object(2, "first"), new_object(3, "second")])
        assert await tail.poll() == 2
        assert source.usage.lists - lists <= 2
        tail._follower._last_wide = None  # the time of the longer look-back has passed
        await stored.store([new_object(4, "waited", age=timedelta(minutes=30))])
        assert await tail.poll() == 1
        tail._follower._last_wide = None
        assert await tail.poll() == 0
    lines = capsys.readouterr().out.splitlines()
    texts = [re.sub(r"^\S+ orders-api 0000 \w{8} ", "", line) for line in lines]
    assert [text for text in texts if not text.startswith("●")] == [
        "ERROR first",
        "ERROR second",
        "ERROR late by 30 min: waited",
    ]
    assert len(stored.requests()) == 3
    assert not [key for key in stored.requests() if "billing" in key]


async def test_a_damaged_object_is_named_and_hides_no_other(
    stored: StoredBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its key and the reason are on stderr."""
    async with open_source(stored.url) as source:
        tail = Tail(source, Selection("orders-api"), View(as_json=True))
        await tail.poll()
        damaged = new_object(1, "x")
        await stored.store([damaged._replace(body=damaged.body[:-9]), new_object(2, "whole")])
        await tail.poll()
    out, err = capsys.readouterr()
    assert [json.loads(line)["text"] for line in out.splitlines() if '"function", "requestId"' in line] == ["whole"]
    assert f"unreadable: logs/{damaged.key} (truncated gzip data)" in err


async def test_silence_is_explained(
    stored: StoredBucket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is on stderr, so that stdout has records only."""
    monkeypatch.setattr("logferry.cli.tail.silence.FIRST_SECONDS", 0.0)
    await stored.store([new_object(0, "x")])
    async with open_source(stored.url) as source:
        tail = Tail(source, Selection("orders-api"), View())
        await tail.poll()
        await Tail(source, Selection("web-*"), View()).poll()
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"last object \d s ago; LOGFERRY_FLUSH=adaptive", err)
    assert "no function matches 'web-*'; the destination has orders-api" in err


async def test_an_error_of_the_destination_ends_the_command(stored: StoredBucket) -> None:
    """It is the same sentence as that of other commands."""
    await stored.proxy.set_fault(Fault.ACCESS_DENIED)
    async with open_source(stored.url) as source:
        with pytest.raises(DestinationError, match="AccessDenied; reading requires s3:ListBucket"):
            await Tail(source, Selection("orders-api"), View()).poll()


async def test_a_poll_that_fails_for_a_while_is_repeated(
    stored: StoredBucket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records that were stored meanwhile are shown after it. A permanent failure ends the command."""
    monkeypatch.setattr("logferry.cli.tail.command.MAX_WAIT_SECONDS", 0.05)
    async with open_source(stored.url) as source:
        tail = Tail(source, Selection("orders-api"), View())
        assert await tail.poll() == 0
        await stored.store([new_object(1, "stored meanwhile")])
        await stored.proxy.set_fault(Fault.REFUSED)
        running = asyncio.create_task(tail.run())
        while "attempt 1 of 20" not in (err := capsys.readouterr().err):
            assert not running.done(), running
            await asyncio.sleep(0.1)
        assert "check the network, AWS_ENDPOINT_URL_S3 and HTTPS_PROXY" in " ".join(err.split())
        await stored.proxy.set_fault(Fault.NONE)
        while "stored meanwhile" not in capsys.readouterr().out:
            assert not running.done(), running
            await asyncio.sleep(0.1)
        running.cancel()


def test_another_key_template_is_followed_too(tmp_path: Path) -> None:
    """Without functions in the keys, the destination is listed completely."""
    store_in(tmp_path, [make_object(invocation(0, datetime.now(UTC)), key="{environment}-{segment}.ndjson")])
    lines = list(read_lines(next(tmp_path.glob("*.ndjson")), "0000000000000001-00000001.ndjson"))
    assert {line.function for line in lines} == {"orders-api"}


@pytest.mark.parametrize("body", [b"\x1f\x8b", b"{", b'{"environment":1}\n', b"\xff\n"])
def test_a_damaged_object_is_an_error_with_the_reason(tmp_path: Path, body: bytes) -> None:
    """The command names the object and continues."""
    path = tmp_path / "x.ndjson"
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"\w"):
        list(read_lines(path, "x.ndjson"))


def test_objects_with_zstd_are_read(tmp_path: Path) -> None:
    """The suffix gives the compression. A truncated object is an error."""
    made = make_object(invocation(0, datetime.now(UTC)), key="{environment}-{segment}.ndjson")
    path = tmp_path / "x.ndjson.zst"
    path.write_bytes(zstd_packing.load().compress(made.body))
    assert len(list(read_lines(path, path.name))) == 5
    assert len(fetch(f"file://{tmp_path}").objects) == 1
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="incomplete zstd data"):
        list(read_lines(path, path.name))
    assert "incomplete zstd data" in fetch(f"file://{tmp_path}").unreadable[0][1]


def test_lines_of_another_program_are_no_records(tmp_path: Path) -> None:
    """They have no environment."""
    path = tmp_path / "x.ndjson"
    path.write_bytes(b'[]\n7\n{"message":"x"}\n')
    assert list(read_lines(path, "x.ndjson")) == []


def test_ctrl_c_ends_the_command_with_status_0(tmp_path: Path) -> None:
    """The process prints a record that is stored while it runs, and ends without a traceback."""
    root = tmp_path / "out"
    root.mkdir()
    arguments = [sys.executable, "-c", "from logferry.cli.main import main; main()", "tail", f"file://{root}"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*arguments, "--highlight", "late"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            assert "the destination has no objects yet" in process.stderr.readline()
            (root / "function=a").mkdir()
            # The functions of a pattern are listed again after a minute, so this object has another template.
            store_in(root, [make_object(invocation(1, datetime.now(UTC)), key="{environment}-{segment}.ndjson")])
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_literal_function_is_followed_before_its_first_object(tmp_path: Path) -> None:
    """The first object of a new function is shown."""
    root = tmp_path / "out"
    root.mkdir()
    program = "from logferry.cli.main import main; main()"
    arguments = [sys.executable, "-c", program, "tail", f"file://{root}", "--function", "orders-api", "--since", "1m"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            store_in(root, [new_object(1, "stored later")])
            line = process.stdout.readline()
            assert re.fullmatch(r"\S+Z orders-api 0000 \w{8} ERROR stored later\n", line), line
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
