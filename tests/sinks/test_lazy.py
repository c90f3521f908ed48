"""The sink that is opened with its first use: once, in a thread, within the time of the caller."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.records.model import StoredObject
from logferry.sinks.lazy import LazySink

if TYPE_CHECKING:
    from logferry.sinks.base import Sink

STORED = StoredObject("key", b"body", {}, "application/gzip")
WAIT_SECONDS = 10.0


class Recorder:
    """A sink that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def connect(self) -> None:
        """Record the call."""
        self.calls.append("connect")

    async def put(self, stored: StoredObject) -> None:
        """Record the call, and reject the second object."""
        self.calls.append(f"put {stored.key}")
        if len(self.calls) > 2:
            raise SinkRejected("403")


async def test_sink_is_opened_once_for_all_calls() -> None:
    """Errors of the sink are those of the caller."""
    opened: list[Recorder] = []

    def open_sink() -> Sink:
        opened.append(Recorder())
        return opened[-1]

    sink = LazySink(open_sink, name="s3://bucket")
    assert opened == []
    await asyncio.gather(sink.connect(), sink.put(STORED))
    with pytest.raises(SinkRejected):
        await sink.put(STORED)
    (recorder,) = opened
    assert recorder.calls == ["connect", "put key", "put key"]


async def test_event_loop_runs_while_the_sink_is_opened_and_a_timeout_does_not_end_it() -> None:
    """Imports of a second take more time than a deadline leaves. The next attempt continues with them."""
    may_open, opened = threading.Event(), []

    def open_sink() -> Sink:
        assert may_open.wait(WAIT_SECONDS)
        opened.append(Recorder())
        return opened[-1]

    sink = LazySink(open_sink, name="s3://bucket")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sink.put(STORED)
    may_open.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await sink.put(STORED)
    assert [recorder.calls for recorder in opened] == [["put key"]]


async def test_sink_that_cannot_be_opened_is_unavailable_and_tried_again() -> None:
    """A process without a free descriptor can import nothing. That may be over at the next attempt."""
    failures: list[Exception] = [
        OSError(24, "Too many open files"),
        ImportError("no module"),
        RuntimeError("no thread"),
    ]

    def open_sink() -> Sink:
        if failures:
            raise failures.pop(0)
        return Recorder()

    sink = LazySink(open_sink, name="s3://bucket")
    await sink.connect()
    for reason in ("no module", "no thread"):
        with pytest.raises(SinkUnavailable, match=f"s3://bucket cannot be opened: {reason}"):
            await sink.put(STORED)
    await sink.put(STORED)
