"""The fallback destination on virtual time: when it is used, for how long, and what is logged."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry.deadline import Deadline
from logferry.errors import SinkUnavailable
from logferry.flush.circuit_breaker import REJECTED_SECONDS
from logferry.flush.failover import LONG_PAUSE_SECONDS
from support.format_1 import read_lines
from support.journal_harness import numbered
from support.sink_doubles import (
    REMEDY,
    FreezingSink,
    RejectingSink,
    ResetAfterStoringSink,
    StallingSink,
    StoringSink,
    ThrottlingSink,
)
from support.uploader_harness import FAR, TIMEOUT, logged, new_uploader, numbers, sealed_journal
from support.virtual_time import START, freeze, now, run

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.flush.uploader import Uploader
    from logferry.journal.journal import Journal
    from logferry.records.model import StoredObject

LAST = 1.75
"""Time of the Shutdown phase for the last upload, in seconds."""


def seal_another(journal: Journal, number: int) -> None:
    """Seal one more segment with a numbered record."""
    journal.append(numbered(number))
    journal.seal()


async def hold(uploader: Uploader, seconds: float = 60.0) -> float:
    """Upload as at the end of an invocation; return the time that the invocation is held."""
    began = now()
    if uploader.attempt_allowed():
        await uploader.drain(uploader.hold_deadline(Deadline(START + began + seconds)))
    return now() - began


# --- when it is used


def test_one_failure_is_no_reason_for_the_fallback(tmp_path: Path) -> None:
    """Most failures are over after a second."""
    journal, first, second = sealed_journal(tmp_path), ThrottlingSink(times=1), StoringSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        assert await uploader.drain(FAR) == 0
        assert not uploader.has_ready_segment()
        await asyncio.sleep(1)
        assert await uploader.drain(FAR) == 3

    run(scenario())
    assert len(first.objects) == 3
    assert second.requests == []


def test_second_consecutive_failure_leads_to_the_fallback(tmp_path: Path) -> None:
    """The segments are stored in the same drain, so that no invocation is extended again."""
    journal, first, second = sealed_journal(tmp_path), ThrottlingSink(), StoringSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await uploader.drain(FAR)
        await asyncio.sleep(1)
        assert await uploader.drain(FAR) == 3
        assert now() == 1

    run(scenario())
    assert len(first.requests) == 2
    assert second.lines() == ["1 ", "2 ", "3 "]
    assert journal.sealed == ()


def test_rejection_leads_to_the_fallback_at_once(tmp_path: Path) -> None:
    """Waiting does not help, until a person has changed something."""
    journal, first, second = sealed_journal(tmp_path), RejectingSink(), StoringSink()

    async def scenario() -> None:
        assert await new_uploader(journal, first, second).drain(FAR) == 3
        assert now() == 0

    run(scenario())
    assert len(first.requests) == 1
    assert second.lines() == ["1 ", "2 ", "3 "]


@pytest.mark.parametrize(("requested", "used"), [(LONG_PAUSE_SECONDS / 2, False), (2 * LONG_PAUSE_SECONDS, True)])
def test_long_pause_that_the_destination_requests_leads_to_the_fallback(
    tmp_path: Path, requested: float, used: bool
) -> None:
    """A receiver that is throttled for a minute would leave the records in the spool as long as this."""
    journal, second = sealed_journal(tmp_path), StoringSink()

    class Throttled(ThrottlingSink):
        async def _fail(self, stored: StoredObject) -> None:
            error = SinkUnavailable(f"{stored.key}: 429")
            error.retry_after = requested
            raise error

    async def scenario() -> None:
        first = Throttled(times=1)
        uploader = new_uploader(journal, first, second)
        assert await uploader.drain(FAR) == (3 if used else 0)
        seal_another(journal, 4)
        await asyncio.sleep(2 * requested)
        await uploader.drain(FAR)
        assert first.lines() == (["4 "] if used else ["1 ", "2 ", "3 ", "4 "])

    run(scenario())
    assert bool(second.requests) == used


def test_successful_trial_returns_to_the_first_destination(tmp_path: Path) -> None:
    """The trials of the first destination have the times of its circuit breaker."""
    journal, first, second = sealed_journal(tmp_path, 0), RejectingSink(times=2), StoringSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        for number in range(2, 8):
            await uploader.drain(FAR)
            await asyncio.sleep(REJECTED_SECONDS / 2)
            seal_another(journal, number)

    run(scenario())
    assert first.timings == [0, REJECTED_SECONDS, 2 * REJECTED_SECONDS, 2.5 * REJECTED_SECONDS]
    assert second.lines() == ["1 ", "2 ", "3 ", "4 "]
    assert first.lines() == ["5 ", "6 "]


def test_objects_of_the_fallback_have_a_mark_and_the_same_key(tmp_path: Path) -> None:
    """Readers see it in the metadata and in the closing line, and compare both destinations by the key."""
    journal, first, second = sealed_journal(tmp_path, 0), ResetAfterStoringSink(2), StoringSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await uploader.drain(FAR)
        await asyncio.sleep(1)
        await uploader.drain(FAR)

    run(scenario())
    (plain,), (marked,) = first.objects.values(), second.objects.values()
    assert marked.key == plain.key
    assert marked.metadata == plain.metadata | {"fallback": "true"}
    *records, closing = read_lines(marked.body)
    *expected, unmarked = read_lines(plain.body)
    assert records == expected
    assert json.loads(closing["record"]) == json.loads(unmarked["record"]) | {"fallback": True}


@pytest.mark.parametrize("second", [ThrottlingSink(), RejectingSink(), StallingSink()])
def test_segments_stay_in_the_spool_if_both_fail(tmp_path: Path, second: StoringSink) -> None:
    """Each destination has its own circuit breaker, so that a failure costs one attempt."""
    journal, first = sealed_journal(tmp_path), RejectingSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await uploader.drain(FAR)
        for _ in range(100):
            assert not uploader.attempt_allowed()
            assert not uploader.has_ready_segment()
            await uploader.drain(FAR)

    run(scenario())
    assert (len(first.requests), len(second.requests)) == (1, 1)
    assert numbers(journal) == [1, 2, 3]


def test_fallback_that_fails_has_its_own_trials(tmp_path: Path) -> None:
    """A rejection of the first destination must not delay the trials of the second one."""
    journal, first, second = sealed_journal(tmp_path), RejectingSink(), ThrottlingSink(times=2)

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await uploader.drain(FAR)
        await asyncio.sleep(1)
        await uploader.drain(FAR)
        await asyncio.sleep(2)
        assert await uploader.drain(FAR) == 3

    run(scenario())
    assert second.timings == [0, 1, 3, 3, 3]
    assert len(first.requests) == 1


# --- limits of time


def test_invocation_is_held_for_one_upload_timeout_in_total(tmp_path: Path) -> None:
    """A first destination that hangs leaves half of the time for the second one, from the second attempt on."""
    journal, first, second = sealed_journal(tmp_path, 0), StallingSink(), StoringSink(0.5)

    async def scenario() -> list[float]:
        uploader = new_uploader(journal, first, second)
        held = []
        for number in range(2, 7):
            held.append(await hold(uploader))
            await asyncio.sleep(300)  # longer than any backoff: each invocation makes a trial
            seal_another(journal, number)
        return held

    held = run(scenario())
    assert held[0] == pytest.approx(TIMEOUT)
    assert held[1] == pytest.approx(TIMEOUT / 2 + 1.0)
    assert held[2:] == pytest.approx([TIMEOUT / 2 + 0.5] * 3)
    assert second.lines() == [f"{n} " for n in range(1, 6)]


def test_both_that_hang_hold_an_invocation_for_one_upload_timeout(tmp_path: Path) -> None:
    """The second attempt ends at the deadline of the first one."""
    journal, first, second = sealed_journal(tmp_path, 0), StallingSink(), StallingSink()

    async def scenario() -> list[float]:
        uploader = new_uploader(journal, first, second)
        held = []
        for _ in range(4):
            held.append(await hold(uploader))
            assert first.in_flight == second.in_flight == 0
            await asyncio.sleep(300)
        return held

    assert run(scenario()) == pytest.approx([TIMEOUT] * 4)
    assert numbers(journal) == [1]


def test_fallback_in_use_costs_no_wait_for_the_first_destination(tmp_path: Path) -> None:
    """Between two trials, only the second destination is used."""
    journal, first, second = sealed_journal(tmp_path, 0), StallingSink(), StoringSink(0.1)

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await hold(uploader)
        await asyncio.sleep(2)
        await hold(uploader)
        seal_another(journal, 2)
        assert await hold(uploader) == pytest.approx(0.1)

    run(scenario())
    assert len(first.requests) == 2


def test_new_event_shortens_a_trial_so_that_the_fallback_has_time(tmp_path: Path) -> None:
    """The trial began in the background, and the invocation that ends now must not wait for it alone."""
    journal, first, second = sealed_journal(tmp_path, 0), StallingSink(), StoringSink(0.1)

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await hold(uploader)
        await asyncio.sleep(100)
        drain = asyncio.create_task(uploader.drain(Deadline(START + now() + 60)))
        await asyncio.sleep(0.1)
        began = now()
        uploader.shorten_deadline(Deadline(START + began + 1.0))
        assert await drain == 1
        assert now() - began == pytest.approx(0.6)

    run(scenario())


def test_ready_segment_is_reported_during_uploads_to_both(tmp_path: Path) -> None:
    """A caller that finds no ready segment can rely on it that nothing is in flight."""
    journal, first, second = sealed_journal(tmp_path), StallingSink(), StoringSink(3.0)
    seen: list[bool] = []

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)

        async def watch() -> None:
            while True:
                if first.in_flight + second.in_flight:
                    seen.append(uploader.has_ready_segment())
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        while journal.sealed:
            await uploader.drain(FAR)
            await asyncio.sleep(0.1)
        watching.cancel()

    run(scenario())
    assert set(seen) == {True}


def test_upload_to_the_fallback_is_repeated_after_a_freeze(tmp_path: Path) -> None:
    """A freeze is no failure of either destination."""
    journal, first, second = sealed_journal(tmp_path, 0), RejectingSink(), FreezingSink(3600.0)

    async def scenario() -> None:
        assert await new_uploader(journal, first, second).drain(Deadline(START + 60)) == 1

    run(scenario())
    assert len(second.requests) == 2
    assert journal.sealed == ()


# --- SHUTDOWN


@pytest.mark.parametrize("first", [ThrottlingSink(), RejectingSink(), StallingSink()])
def test_one_failure_is_sufficient_at_shutdown(tmp_path: Path, first: StoringSink) -> None:
    """The first destination gets one attempt and at most half of the time, then the second one stores everything."""
    journal, second = sealed_journal(tmp_path), StoringSink(0.1)

    async def scenario() -> float:
        assert await new_uploader(journal, first, second).drain(Deadline(START + LAST), force=True) == 3
        return now()

    assert run(scenario()) <= LAST / 2 + 0.3 + 1e-6
    assert len(first.requests) == 1
    assert second.lines() == ["1 ", "2 ", "3 "]


def test_destination_that_has_just_failed_is_the_last_one_at_shutdown(tmp_path: Path) -> None:
    """It would use up half of the time of the Shutdown phase again."""
    journal, first, second = sealed_journal(tmp_path), StallingSink(), StoringSink(0.1)

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        await hold(uploader)
        began = now()
        assert await uploader.drain(Deadline(START + began + LAST), force=True) == 3
        assert now() - began == pytest.approx(0.3)

    run(scenario())
    assert len(first.requests) == 1


def test_both_are_retried_until_the_deadline_of_shutdown(tmp_path: Path) -> None:
    """Transient failures may end within the Shutdown phase. One that works again stores everything."""
    journal, first, second = sealed_journal(tmp_path), ThrottlingSink(), ThrottlingSink(times=3)

    async def scenario() -> None:
        assert await new_uploader(journal, first, second).drain(Deadline(START + LAST), force=True) == 3
        assert now() < LAST

    run(scenario())
    assert second.lines() == ["1 ", "2 ", "3 "]
    assert first.timings == pytest.approx([0, 0.1, 0.3, 0.7])


def test_rejected_destination_is_not_retried_at_shutdown(tmp_path: Path) -> None:
    """The other one is, until the deadline."""
    journal, first, second = sealed_journal(tmp_path), RejectingSink(), ThrottlingSink()

    async def scenario() -> None:
        await new_uploader(journal, first, second).drain(Deadline(START + LAST), force=True)
        assert now() == pytest.approx(LAST)

    run(scenario())
    assert len(first.requests) == 1
    assert len(second.requests) > 3
    assert numbers(journal) == [1, 2, 3]


def test_shutdown_ends_at_once_if_both_reject(tmp_path: Path) -> None:
    """A missing bucket does not appear within the Shutdown phase."""
    journal, first, second = sealed_journal(tmp_path), RejectingSink(), RejectingSink()

    async def scenario() -> None:
        await new_uploader(journal, first, second).drain(Deadline(START + LAST), force=True)
        assert now() == 0

    run(scenario())
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_shutdown_ends_at_its_deadline_if_both_hang(tmp_path: Path) -> None:
    """After the deadline the process is killed, so nothing may be in flight then."""
    journal, first, second = sealed_journal(tmp_path), StallingSink(), StallingSink()

    async def scenario() -> None:
        await new_uploader(journal, first, second).drain(Deadline(START + LAST), force=True)
        assert now() == pytest.approx(LAST)
        assert first.in_flight == second.in_flight == 0

    run(scenario())


# --- messages


def test_takeover_and_return_are_logged_once_each(tmp_path: Path) -> None:
    """Each line costs the user in CloudWatch. The takeover has the failure with its remedy."""
    journal, first, second = sealed_journal(tmp_path, 0), RejectingSink(times=2), StoringSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        for number in range(2, 12):
            await uploader.drain(FAR)
            await asyncio.sleep(REJECTED_SECONDS / 4)
            seal_another(journal, number)

    with capture_logs() as logs:
        run(scenario())
    takeover, back = logged(logs)
    assert "the fallback destination stores the records" in takeover
    assert REMEDY in takeover
    assert f"'next_attempt_in_s': {REJECTED_SECONDS}" in takeover
    assert "the destination works again" in back


def test_failure_of_both_is_one_message_with_both_reasons(tmp_path: Path) -> None:
    """The user has to correct one of them."""
    journal, first, second = sealed_journal(tmp_path, 0), RejectingSink(), ThrottlingSink()

    async def scenario() -> None:
        uploader = new_uploader(journal, first, second)
        for _ in range(20):
            await uploader.drain(FAR)
            await asyncio.sleep(REJECTED_SECONDS / 10)

    with capture_logs() as logs:
        run(scenario())
    (message,) = logged(logs)
    assert "uploads to the destination and to the fallback destination fail" in message
    assert REMEDY in message
    assert "SlowDown" in message


def test_rejection_that_follows_another_failure_is_logged_while_the_fallback_is_in_use(tmp_path: Path) -> None:
    """The second failure needs an action, and the first one did not."""
    journal, second = sealed_journal(tmp_path, 0), StoringSink()

    class Both(RejectingSink):
        async def _fail(self, stored: StoredObject) -> None:
            if len(self.requests) <= 2:
                raise SinkUnavailable("503 SlowDown")
            await super()._fail(stored)

    async def scenario() -> None:
        uploader = new_uploader(journal, Both(), second)
        for number in range(2, 8):
            await uploader.drain(FAR)
            await asyncio.sleep(4)
            seal_another(journal, number)

    with capture_logs() as logs:
        run(scenario())
    failed, takeover, rejected = logged(logs)
    assert "the records stay in the spool" in failed
    assert "SlowDown" in takeover
    assert REMEDY in rejected


def test_failure_is_logged_if_the_deadline_leaves_no_time_for_the_fallback(tmp_path: Path) -> None:
    """The message of the takeover would come with another invocation, or never."""
    journal, second = sealed_journal(tmp_path, 0), StoringSink()

    class LateRejectingSink(RejectingSink):
        async def _fail(self, stored: StoredObject) -> None:
            freeze(1.0)
            await super()._fail(stored)

    async def scenario() -> None:
        uploader = new_uploader(journal, LateRejectingSink(), second)
        await uploader.drain(Deadline(START + 0.3))
        assert second.requests == []
        await uploader.drain(FAR)

    with capture_logs() as logs:
        run(scenario())
    assert [("stay in the spool" in line, REMEDY in line) for line in logged(logs)] == [(True, True), (False, True)]
