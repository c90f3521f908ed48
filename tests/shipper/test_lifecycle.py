"""The conductor: scenarios in, calls out. What an invocation is held for, and what it is never held for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from logferry import ipc
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.shipper.invocation_flush import (
    CANCEL_MARGIN_SECONDS,
    PREVIOUS_END_WAIT_SECONDS,
    RUNTIME_DONE_MARGIN_SECONDS,
    UPLOAD_MARGIN_SECONDS,
)
from logferry.shipper.shutdown_flush import LAST_REPORT_SECONDS, LAST_UPLOAD_MARGIN_SECONDS, QUIET_SECONDS
from support.lifecycle_harness import ADAPTIVE, EACH_BESIDE, INVOCATION, NEVER, UPLOAD_TIMEOUT, Life, life
from support.sink_doubles import REMEDY, IsFrozenInTheMiddle, Rejects, Stalls, Takes, Throttles
from support.virtual_time import freeze, now, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


# --- after the invocation


def test_with_nothing_due_an_invocation_is_done_at_once(tmp_path: Path) -> None:
    """It costs nothing: not a moment, not a request."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(), policy=NEVER) as it:
            for n in range(50):
                number = it.invoke(f"r{n}")
                assert await it.done(number) == now() == n
                it.line("late")
                await asyncio.sleep(1)
            assert sink.asked == []

    run(scenario())


def test_a_due_flush_waits_for_the_end_of_its_own_invocation(tmp_path: Path) -> None:
    """Not for another's end, nor for lines; then the object holds this invocation, and "done" comes behind it."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05)) as it:
            number = it.invoke("r1")
            it.starts("r1")
            await asyncio.sleep(3)
            it.line("one")
            it.runtime_done("another")
            await asyncio.sleep(4)
            assert sink.asked == []
            it.line("two")
            it.runtime_done("r1")
            assert await it.done(number) == 7.05
            assert sink.timings == [7.0]
            assert sink.lines() == ["one", "two"]
            assert it.in_flight_at_done == [0]

    run(scenario())


def test_after_done_nothing_more_is_said_of_it(tmp_path: Path) -> None:
    """A second packet for each object would wake the supervisor once more."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05)) as it:
            for n in range(3):
                await it.whole_invocation(f"r{n}")
                await asyncio.sleep(1)
            assert len(sink.timings) == 3
            assert it.wells == 0

    run(scenario())


def test_a_connection_is_opened_while_the_function_still_runs(tmp_path: Path) -> None:
    """The handshake is not on the caller's bill; where nothing will be shipped after this invocation there is none."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes()) as it:
            sink.connects_in = 0.3
            number = it.invoke("r1")
            it.starts("r1")
            await asyncio.sleep(1)
            it.runtime_done("r1")
            assert await it.done(number) == 1.0
            assert sink.connected == [(0.0, 0.3)]
        async with life(tmp_path / "never", sink := Takes(), policy=NEVER) as it:
            await it.done(it.invoke("r1"))
            assert sink.connected == []

    run(scenario())


def test_an_upload_waits_for_the_connection_that_is_being_opened(tmp_path: Path) -> None:
    """A second one beside it would take as long and cost twice."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes()) as it:
            sink.connects_in = 0.3
            number = it.invoke("r1")
            it.runtime_done("r1")
            assert await it.done(number) == 0.3
            assert sink.timings == [0.3]

    run(scenario())


def test_a_connection_that_hangs_costs_no_more_than_the_upload_timeout(tmp_path: Path) -> None:
    """It is inside the same bound; and nothing is in flight when "done" is said."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes()) as it:
            sink.connects_in = 1000.0
            number = it.invoke("r1")
            it.runtime_done("r1")
            assert await it.done(number) == UPLOAD_TIMEOUT
            assert (sink.asked, it.uploader._connecting.done()) == ([], True)  # type: ignore[union-attr]

    run(scenario())


def test_an_end_that_was_told_before_the_event_is_not_waited_for(tmp_path: Path) -> None:
    """A short function: its runtimeDone may be here before the INVOKE."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes()) as it:
            it.starts("r1")
            it.runtime_done("r1")
            assert await it.done(it.invoke("r1")) == 0.0
            assert len(sink.asked) == 1

    run(scenario())


@pytest.mark.parametrize("seconds", [3.0, 60.0, 0.4])
def test_a_lost_runtime_done_costs_no_more_than_the_deadline_leaves(tmp_path: Path, seconds: float) -> None:
    """Just enough time is kept for the upload; what is there is shipped, and the loss of the news is said."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.01)) as it:
            number = it.invoke("r1", seconds=seconds)
            it.line("one")
            assert await it.done(number) == pytest.approx(max(0.0, seconds - RUNTIME_DONE_MARGIN_SECONDS) + 0.01)
            assert sink.lines() == ["one"]

    with capture_logs() as logs:
        run(scenario())
    assert ["did not come" in entry["event"] for entry in logs if entry["log_level"] == "warning"] == [True]


def test_an_upload_that_stalls_is_given_up_before_the_deadline(tmp_path: Path) -> None:
    """The function comes first; the records stay, and go with the next that works."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Stalls(times=1)) as it:
            number = it.invoke("r1", seconds=2.0)
            it.line("one")
            it.runtime_done("r1")
            assert await it.done(number) == 2.0 - UPLOAD_MARGIN_SECONDS
            assert it.in_flight_at_done == [0]
            await asyncio.sleep(10)
            await it.whole_invocation("r2")
            assert sink.lines() == ["one", "of r2"]

    run(scenario())


def test_an_upload_timeout_bounds_what_a_long_deadline_would_allow(tmp_path: Path) -> None:
    """A stalled S3 costs one timeout, not the fifteen minutes of the function."""

    async def scenario() -> None:
        async with life(tmp_path, Stalls()) as it:
            number = it.invoke("r1", seconds=900)
            it.runtime_done("r1")
            assert await it.done(number) == UPLOAD_TIMEOUT

    run(scenario())


def test_while_the_breaker_is_open_invocations_cost_nothing(tmp_path: Path) -> None:
    """The first failure is paid once; then nothing until the next trial, and all is shipped when it works."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Rejects(times=1)) as it:
            for n in range(100):
                assert await it.whole_invocation(f"r{n}", runs=0.0) == 0.0
                await asyncio.sleep(1)
            assert len(sink.asked) == 1
            await asyncio.sleep(300)
            await it.whole_invocation("last")
            assert len(sink.lines()) == 101
            assert set(it.in_flight_at_done) == {0}

    with capture_logs() as logs:
        run(scenario())
    assert sum(REMEDY in str(entry) for entry in logs if entry["log_level"] != "debug") == 1


def test_every_tenth_invocation_pays_for_ten(tmp_path: Path) -> None:
    """LOGFERRY_FLUSH_INVOCATIONS=10: nine are free, the tenth ships itself and the nine before it."""
    policy = Policy(Flush.INVOCATION, Timing.POST_EXECUTION, Thresholds(invocations=10))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.02), policy=policy) as it:
            costs = [await it.whole_invocation(f"r{n}") for n in range(20)]
            assert [n for n, cost in enumerate(costs) if cost] == [9, 19]
            assert len(sink.holds) == 2
            assert sink.lines() == [f"of r{n}" for n in range(20)]

    run(scenario())


# --- beside the next one


def test_beside_ships_the_one_before_without_waiting_for_this_one(tmp_path: Path) -> None:
    """It is done when the upload has ended; the object holds the earlier invocation whole, and not this one."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05), policy=EACH_BESIDE) as it:
            assert await it.done(it.invoke("r1")) == 0.0
            it.starts("r1")
            it.line("one")
            it.runtime_done("r1")
            await asyncio.sleep(1)
            number = it.invoke("r2")
            it.starts("r2")
            assert await it.done(number) == 1.05
            assert sink.lines() == ["one"]
            assert it.in_flight_at_done == [0, 0]

    run(scenario())


def test_beside_waits_a_moment_for_the_rest_of_the_one_before(tmp_path: Path) -> None:
    """Its last records were under way when the environment was frozen; they come now, or are not waited for."""

    async def scenario(*, comes: bool) -> float:
        async with life(tmp_path / str(comes), sink := Takes(), policy=EACH_BESIDE) as it:
            await it.done(it.invoke("r1"))
            it.starts("r1")
            it.line("one")
            freeze(100)
            number = it.invoke("r2")
            if comes:
                await asyncio.sleep(0.02)
                it.line("two")
                it.runtime_done("r1")
            timing = await it.done(number) - 100
            assert sink.lines() == (["one", "two"] if comes else ["one"])
            return timing

    assert run(scenario(comes=True)) == pytest.approx(0.02)
    assert run(scenario(comes=False)) == pytest.approx(PREVIOUS_END_WAIT_SECONDS)


# --- adaptive


def test_adaptive_ships_the_first_at_its_end_and_then_follows_the_pace(tmp_path: Path) -> None:
    """A one-shot function is seen at once; a burst shares objects; after a pause each is seen again."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.02), policy=ADAPTIVE) as it:
            assert await it.whole_invocation("first") > 0
            burst = []
            for n in range(300):
                burst.append(await it.whole_invocation(f"r{n}", runs=0.2))
                await asyncio.sleep(0.2)
            assert len(sink.holds) < 10
            assert sum(cost > 0 for cost in burst) <= 2, "a burst pays nothing"
            for n in range(6):
                await asyncio.sleep(600)
                await it.whole_invocation(f"late{n}")
            assert "of late5" in sink.lines()
            assert set(it.in_flight_at_done) == {0}

    run(scenario())


# --- inside long invocations


def test_age_ships_inside_a_long_invocation(tmp_path: Path) -> None:
    """The time policy does not wait for the end of a function that runs for minutes."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            await asyncio.sleep(4)
            it.line("one")
            await asyncio.sleep(26)
            assert sink.timings == [10.0]
            it.line("two")
            await asyncio.sleep(11)
            assert sink.timings == [10.0, 40.0]
            assert sink.lines() == ["one", "two"]
            assert it.wells == 2, "the supervisor is to know that this one works"

    run(scenario())


def test_size_ships_inside_a_long_invocation(tmp_path: Path) -> None:
    """A flood is not kept until the end of the function."""
    policy = Policy(Flush.INVOCATION, Timing.POST_EXECUTION, Thresholds(size=10_000))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05), policy=policy) as it:
            number = it.invoke("r1", seconds=900)
            it.starts("r1")
            for n in range(40):
                it.line(f"{n} " + "x" * 1000)
                await asyncio.sleep(0.2)
            assert len(sink.holds) >= 3
            it.runtime_done("r1")
            await it.done(number)
            assert [line.split()[0] for line in sink.lines()] == [str(n) for n in range(40)]
            assert it.in_flight_at_done == [0]

    run(scenario())


def test_what_was_large_at_invoke_is_shipped_once_with_the_invocation_that_will_be_held_for_it(tmp_path: Path) -> None:
    """Not while it runs, and what is left of it in a second object; more that becomes large meanwhile is shipped."""
    large = Policy(Flush.SIZE, Timing.POST_EXECUTION, Thresholds(size=2000))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(), policy=large) as it:
            await it.done(it.invoke("r1"))
            it.line("x" * 3000)
            number = it.invoke("r2")
            it.line("inside")
            await asyncio.sleep(1)
            assert sink.asked == []
            it.runtime_done("r2")
            await it.done(number)
            assert [len(line) for line in sink.lines()] == [3000, 6]
            assert len(sink.holds) == 1
            it.line("x" * 3000)
            it.invoke("r3")
            await asyncio.sleep(1)
            it.line("y" * 3000)
            await asyncio.sleep(1)
            assert len(sink.holds) == 2

    run(scenario())


def test_what_was_due_while_the_sink_was_down_is_due_again_with_the_next_invocation(tmp_path: Path) -> None:
    """A promise that could not be kept is no reason to wait as long once more."""
    half_a_second = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=0.5))

    async def scenario() -> None:
        async with life(tmp_path, sink := Throttles(times=1), policy=half_a_second) as it:

            async def invocation(name: str, *, then: float) -> None:
                number = it.invoke(name)
                it.line(name)
                it.runtime_done(name)
                await it.done(number)
                await asyncio.sleep(then)

            await invocation("not due yet", then=0.6)
            await invocation("fails, and the breaker opens for a second", then=0.0)
            await invocation("not due yet", then=0.6)
            await invocation("due, and the breaker is open", then=0.45)
            await invocation("due", then=0.0)
            assert len(sink.lines()) == 5

    run(scenario())


async def upload_begun_by_time(it: Life) -> None:
    """Let an invocation last until its age has begun an upload, and end just then: at 10.2 s."""
    await it.done(it.invoke("r1", seconds=900))
    it.starts("r1")
    await asyncio.sleep(10.2)
    assert it.sink.in_flight == 1
    it.runtime_done("r1")


def test_an_upload_that_time_had_begun_is_waited_for_before_done_is_said(tmp_path: Path) -> None:
    """With nothing due itself, an invocation still must not let the environment freeze in the middle of one."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, Takes(0.5), policy=policy) as it:
            await upload_begun_by_time(it)
            assert await it.done(it.invoke("r2", seconds=900)) == 10.5
            assert it.in_flight_at_done == [0, 0]

    run(scenario())


def test_an_upload_that_time_had_begun_is_cut_before_the_deadline(tmp_path: Path) -> None:
    """Nothing is in flight when "done" is said, however little time the invocation has; it is made again later."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Stalls(times=1), policy=policy) as it:
            it.line("one")
            await upload_begun_by_time(it)
            assert await it.done(it.invoke("r2", seconds=1.0)) == 11.2 - UPLOAD_MARGIN_SECONDS - CANCEL_MARGIN_SECONDS
            assert it.in_flight_at_done == [0, 0]
            await it.done(it.shut_down())
            assert sink.lines() == ["one"]

    with capture_logs() as logs:
        run(scenario())
    assert any("an upload failed" in entry["event"] for entry in logs)


def test_records_that_come_only_after_a_freeze_are_as_old_as_their_invocation(tmp_path: Path) -> None:
    """They were on the way when the environment froze: the next invocation ships them, not the one after it."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.02), policy=policy) as it:
            await it.done(it.invoke("r1"))
            freeze(3600)
            number = it.invoke("r2")
            await asyncio.sleep(0.01)
            it.starts("r1")
            it.line("of r1")
            it.runtime_done("r1")
            it.starts("r2")
            it.line("of r2")
            await asyncio.sleep(1)
            it.runtime_done("r2")
            await it.done(number)
            assert sink.lines() == ["of r1", "of r2"]
            assert len(sink.asked) == 1

    run(scenario())


def test_what_became_old_in_a_freeze_waits_for_the_invocation_that_ended_it(tmp_path: Path) -> None:
    """After a thaw ages are judged by the event: one object, holding that invocation too, and none before it."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.02), policy=policy) as it:
            await it.whole_invocation("r1")
            assert sink.asked == []
            freeze(3600)
            assert await it.whole_invocation("r2") == 0.02
            assert len(sink.asked) == 1
            assert sink.lines() == ["of r1", "of r2"]

    run(scenario())


def test_an_upload_frozen_in_the_middle_is_made_again_after_the_thaw(tmp_path: Path) -> None:
    """Nothing is lost or twice, and it is not held against the sink."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := IsFrozenInTheMiddle(3600.0), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            it.line("one")
            await asyncio.sleep(10)
            await it.whole_invocation("r2")
            await it.done(it.shut_down())
            assert sink.lines() == ["one", "of r2"]
            assert it.uploader.backlog == ()

    run(scenario())


# --- the end


@pytest.mark.parametrize("policy", [INVOCATION, EACH_BESIDE, ADAPTIVE, NEVER])
def test_shutdown_ships_everything_under_every_policy(tmp_path: Path, policy: Policy) -> None:
    """And says which object is the last."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.02), policy=policy) as it:
            for n in range(3):
                await it.whole_invocation(f"r{n}")
                it.report(f"r{n}")
            await it.done(it.shut_down())
            assert sink.lines() == [f"of r{n}" for n in range(3)]
            finals = [o.metadata.get("final") for _, o in sorted(sink.holds.items())]
            assert finals == [None] * (len(finals) - 1) + ["true"]
            assert it.in_flight_at_done[-1] == 0

    run(scenario())


def test_shutdown_waits_for_the_last_report_and_no_longer_than_its_budget(tmp_path: Path) -> None:
    """With all reports in it begins at once; one that comes in time is shipped too; a lost one costs a little."""

    async def scenario(report_after: float | None) -> tuple[float, int]:
        async with life(tmp_path / str(report_after), sink := Takes(), policy=NEVER) as it:
            await it.whole_invocation("r1", runs=1.0)
            if report_after == 0.0:
                it.report("r1")
            number = it.shut_down()
            if report_after:
                await asyncio.sleep(report_after)
                it.report("r1")
            timing = await it.done(number) - 1.0
            return round(timing, 3), sum(r["type"] == "platform.report" for r in sink.records())

    assert run(scenario(0.0)) == (0.0, 1)
    assert run(scenario(0.1)) == (0.1, 1)
    assert run(scenario(None)) == (LAST_REPORT_SECONDS, 0)


def test_shutdown_tries_once_even_with_the_breaker_open(tmp_path: Path) -> None:
    """It is the last chance of this environment."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Throttles(times=1)) as it:
            await it.whole_invocation("r1")
            it.report("r1")
            await it.done(it.shut_down())
            assert len(sink.asked) == 3
            assert sink.lines() == ["of r1"]

    run(scenario())


def test_shutdown_ends_in_time_whatever_the_sink_does(tmp_path: Path) -> None:
    """2,000 ms are all there is; what is left behind is said, and waits on disk for a next life."""

    async def scenario() -> None:
        async with life(tmp_path, Stalls(), policy=NEVER) as it:
            await it.whole_invocation("r1", runs=0.0)
            it.report("r1")
            assert await it.done(it.shut_down()) == 2.0 - LAST_UPLOAD_MARGIN_SECONDS
            assert it.in_flight_at_done[-1] == 0
            assert len(it.uploader.backlog) == 1

    with capture_logs() as logs:
        run(scenario())
    assert any("not everything" in entry["event"] for entry in logs)


def test_an_upload_that_hangs_since_before_leaves_time_for_one_at_shutdown(tmp_path: Path) -> None:
    """Half of what is left goes to it, half to a last attempt."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=1.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Stalls(times=1), policy=policy) as it:
            await it.done(it.invoke("r1", seconds=900))
            it.starts("r1")
            it.line("one")
            await asyncio.sleep(1.5)
            assert sink.in_flight == 1
            assert await it.done(it.shut_down()) < 1.5 + 2.0 - LAST_UPLOAD_MARGIN_SECONDS
            assert sink.lines() == ["one"]

    run(scenario())


def test_after_shutdown_nothing_is_accepted_any_more(tmp_path: Path) -> None:
    """It could not be shipped, so it must not be answered 200."""

    async def scenario() -> None:
        async with life(tmp_path, Takes()) as it:
            await it.done(it.shut_down())
            with pytest.raises(Exception, match="shutting down"):
                it.line("too late")

    run(scenario())


# --- the supervisor


def test_a_ping_is_answered_whatever_is_going_on(tmp_path: Path) -> None:
    """Even while an upload stalls: slow is not hung."""

    async def scenario() -> None:
        async with life(tmp_path, Stalls()) as it:
            number = it.invoke("r1")
            it.runtime_done("r1")
            await asyncio.sleep(1)
            it.supervisor.send(ipc.PING)
            assert await it.heard() == (ipc.PONG, 1.0)
            await it.done(number)

    run(scenario())


def test_it_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    """What waits stays on disk."""

    async def scenario() -> None:
        async with life(tmp_path, Takes(), policy=NEVER) as it:
            it.line("one")
            it.supervisor.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0.1)
            assert not any("Shipper.run" in repr(task) for task in asyncio.all_tasks())
            assert it.journal.waiting_bytes

    run(scenario())


@pytest.mark.parametrize(("running", "expected"), [(True, 3.0), (False, 0.0)])
def test_an_event_handed_on_again_waits_only_for_what_still_runs(
    tmp_path: Path, *, running: bool, expected: float
) -> None:
    """Its runtimeDone may have been seen by the shipper that died; then nothing would ever come."""

    async def scenario() -> float:
        async with life(tmp_path, Takes()) as it:
            if running:
                it.starts("r1")
            number = it.invoke("r1", again=True)
            await asyncio.sleep(3)
            it.runtime_done("r1")
            return await it.done(number)

    assert run(scenario()) == expected


def test_an_event_that_comes_while_another_is_held_is_worked_on_afterwards(tmp_path: Path) -> None:
    """That happens when the supervisor gave the first one up."""

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes()) as it:
            first, second = it.invoke("r1", seconds=5), it.invoke("r2", seconds=5)
            it.runtime_done("r2")
            await asyncio.sleep(1)
            it.runtime_done("r1")
            assert await it.done(first) == 1.0
            assert await it.done(second) == 1.0
            assert sink.most_in_flight == 1

    run(scenario())


# --- Managed Instances


def test_where_nothing_is_announced_reports_and_time_ship(tmp_path: Path) -> None:
    """No INVOKE comes: by number of reports, by age, and everything at SHUTDOWN."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(invocations=3, seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Takes(0.05), policy=policy, managed=True) as it:
            for n in range(3):
                it.starts(f"r{n}")
                it.line(f"{n}")
            for n in range(3):
                it.report(f"r{n}")
            await asyncio.sleep(0.1)
            assert sink.lines() == ["0", "1", "2"]
            it.line("alone")
            await asyncio.sleep(11)
            assert sink.lines() == ["0", "1", "2", "alone"]
            it.line("at the end")
            await it.done(it.shut_down())
            assert sink.lines()[-1] == "at the end"
            assert not any("requestId" in r for r in sink.records() if r["type"] == "function")

    run(scenario())


def test_where_nothing_is_announced_a_failed_upload_is_tried_again_by_itself(tmp_path: Path) -> None:
    """The breaker's next trial is not left to chance."""
    policy = Policy(Flush.TIME, Timing.POST_EXECUTION, Thresholds(seconds=10.0))

    async def scenario() -> None:
        async with life(tmp_path, sink := Throttles(times=2), policy=policy, managed=True) as it:
            it.line("one")
            await asyncio.sleep(20)
            assert sink.lines() == ["one"]
            assert len(sink.asked) == 3

    run(scenario())
