"""Uploads at SHUTDOWN (`force`): transient failures are retried until the deadline, rejections are not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.flush.uploader import LONGEST_RETRY_SECONDS
from support.journal_harness import numbered
from support.sink_doubles import RejectingSink, ResetAfterStoringSink, StallingSink, StoringSink, ThrottlingSink
from support.uploader_harness import FAR, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, now, run

if TYPE_CHECKING:
    from pathlib import Path

LAST = 1.75
"""Time of the Shutdown phase for the last upload, in seconds."""


@pytest.mark.parametrize(
    "sink", [ThrottlingSink(1), ThrottlingSink(4), ResetAfterStoringSink(1), ResetAfterStoringSink(3)]
)
def test_uploader_retries_transient_failures_until_everything_is_stored(tmp_path: Path, sink: StoringSink) -> None:
    """One 503 used to lose everything that was pending."""
    journal = sealed_journal(tmp_path)

    async def scenario() -> float:
        assert await new_uploader(journal, sink).drain(Deadline(START + LAST), force=True) == 3
        return now()

    assert run(scenario()) < LAST
    assert sink.lines() == ["1 ", "2 ", "3 "]
    assert journal.sealed == ()


def test_uploader_ends_its_retries_at_the_deadline(tmp_path: Path) -> None:
    """After the deadline the process is killed, so nothing may be in flight then."""
    journal, sink = sealed_journal(tmp_path), ThrottlingSink()

    async def scenario() -> float:
        assert await new_uploader(journal, sink).drain(Deadline(START + LAST), force=True) == 0
        return now()

    assert run(scenario()) == pytest.approx(LAST)
    assert numbers(journal) == [1, 2, 3]
    gaps = [after - before for before, after in zip(sink.timings, sink.timings[1:], strict=False)]
    assert gaps[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert max(gaps) == pytest.approx(LONGEST_RETRY_SECONDS)


def test_uploader_ends_a_stalled_last_upload_at_the_deadline(tmp_path: Path) -> None:
    """A sink that never responds must not delay the exit."""
    journal, sink = sealed_journal(tmp_path), StallingSink()

    async def scenario() -> float:
        await new_uploader(journal, sink).drain(Deadline(START + LAST), force=True)
        return now()

    assert run(scenario()) == pytest.approx(LAST)
    assert sink.in_flight == 0


def test_uploader_does_not_retry_a_rejection(tmp_path: Path) -> None:
    """A missing bucket does not appear within the Shutdown phase, and SHUTDOWN must not take longer."""
    journal, sink = sealed_journal(tmp_path), RejectingSink()

    async def scenario() -> float:
        await new_uploader(journal, sink).drain(Deadline(START + LAST), force=True)
        return now()

    assert run(scenario()) == 0.0
    assert len(sink.requests) == 1


def test_uploader_ignores_an_open_circuit_breaker(tmp_path: Path) -> None:
    """SHUTDOWN is the last opportunity of the environment."""
    journal, sink = sealed_journal(tmp_path), ThrottlingSink(times=1)

    async def scenario() -> None:
        uploader = new_uploader(journal, sink)
        await uploader.drain(FAR)
        assert not uploader.attempt_allowed()
        assert await uploader.drain(Deadline(START + LAST), force=True) == 3
        assert now() == 0.0

    run(scenario())


def test_uploader_stores_a_segment_that_is_sealed_during_its_retries(tmp_path: Path) -> None:
    """Late records arrive during the last upload and must not need another drain."""
    journal, sink = sealed_journal(tmp_path, 0), ThrottlingSink(times=2)

    async def scenario() -> None:
        drain = asyncio.create_task(new_uploader(journal, sink).drain(Deadline(START + LAST), force=True))
        await asyncio.sleep(0.15)
        journal.append(numbered(2))
        journal.seal()
        assert await drain == 2

    run(scenario())
    assert sink.lines() == ["1 ", "2 "]


def test_uploader_logs_one_warning_for_all_retries(tmp_path: Path) -> None:
    """Each line costs the customer in CloudWatch; the recovery is logged as well."""
    journal, sink = sealed_journal(tmp_path), ThrottlingSink(times=3)

    async def scenario() -> None:
        await new_uploader(journal, sink).drain(Deadline(START + LAST), force=True)

    with capture_logs() as logs:
        run(scenario())
    failure, recovery = logged(logs)
    assert "SlowDown" in failure
    assert "'next_attempt_in_s': 0.1" in failure
    assert "work again" in recovery
