"""A destination that requests a delay (`Retry-After`), and one that stores an object without some of its records."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.errors import RecordsRejected, SinkUnavailable
from support.journal_harness import numbered
from support.sink_doubles import FailingSink, StoringSink
from support.uploader_harness import FAR, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, now, run

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.records.model import StoredObject


class RequestingSink(FailingSink):
    """A sink that responds 429 with a time at which to try again."""

    def __init__(self, seconds: float, times: int = 1) -> None:
        super().__init__(times)
        self.requested = seconds

    async def _fail(self, stored: StoredObject) -> None:
        error = SinkUnavailable(f"{stored.key}: 429")
        error.retry_after = self.requested
        raise error


class RefusingSink(StoringSink):
    """A sink that stores objects without some of their records."""

    def __init__(self, *rejected: int) -> None:
        super().__init__()
        self.rejected = list(rejected)

    async def _take(self, stored: StoredObject) -> None:
        await super()._take(stored)
        if self.rejected and (count := self.rejected.pop(0)):
            raise RecordsRejected(f"{count} log records rejected: too old", records=count)


def test_uploader_waits_for_the_time_that_the_destination_requests(tmp_path: Path) -> None:
    """The default time after a first failure is one second."""
    journal, sink = sealed_journal(tmp_path), RequestingSink(20.0)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        while journal.sealed:
            await it.drain(FAR)
            await asyncio.sleep(0.5)

    run(scenario())
    assert 20.0 <= sink.timings[1] <= 25.5


@pytest.mark.parametrize(("requested", "attempts"), [(1.0, [0.0, 1.0]), (60.0, [0.0, 0.1])])
def test_last_upload_waits_only_for_a_time_before_the_deadline(
    tmp_path: Path, requested: float, attempts: list[float]
) -> None:
    """Without an attempt before the deadline the records would be lost."""
    journal, sink = sealed_journal(tmp_path, 0), RequestingSink(requested)

    async def scenario() -> float:
        await new_uploader(journal, sink).drain(Deadline(START + 1.75), force=True)
        return now()

    assert run(scenario()) < 1.75
    assert sink.timings == pytest.approx(attempts)
    assert journal.sealed == ()


def test_rejected_records_are_logged_and_reported_and_the_segment_is_removed(tmp_path: Path) -> None:
    """The loss is in the next segment. A repetition would store the others twice."""
    journal, sink = sealed_journal(tmp_path, 0, 0), RefusingSink(0, 1)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        assert await it.drain(FAR) == 2
        journal.append(numbered(3))
        journal.seal()
        assert await it.drain(FAR) == 1

    with capture_logs() as logs:
        run(scenario())
    assert numbers(journal) == []
    assert len(sink.requests) == 3
    (message,) = logged(logs, "error")
    assert "too old" in message
    (loss,) = [record["record"] for record in sink.records() if record["type"] == "logferry.dropped"]
    assert (loss["segment"], loss["until"], loss["records"]) == (2, 2, 1)
    assert loss["reason"] == "the destination rejected the records"


def test_loss_of_some_records_is_reported_with_their_number(tmp_path: Path) -> None:
    """The other records of the segment are stored."""
    journal, sink = sealed_journal(tmp_path, 0), RefusingSink(0, 1)

    async def scenario() -> None:
        it = new_uploader(journal, sink)
        await it.drain(FAR)
        journal.append(json.dumps(json.loads(numbered(2)) + json.loads(numbered(3))).encode())
        journal.seal()
        await it.drain(FAR)
        journal.append(numbered(4))
        journal.seal()
        await it.drain(FAR)

    run(scenario())
    (loss,) = [record["record"] for record in sink.records() if record["type"] == "logferry.dropped"]
    assert (loss["segment"], loss["records"], loss["reason"]) == (2, 1, "the destination rejected some of the records")
