"""When summaries and samples are made: in the object of their invocation, once, and late only if they are."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from logferry.errors import JournalFull
from logferry.instrumentation.usage import Sample
from logferry.records.model import iso
from logferry.shipper.invocation_records import InvocationRecords
from logferry.shipper.invocation_usage import PROCESS_USAGE_SECONDS, UsageSource
from support.lifecycle_harness import INVOCATION, NEVER, ShipperHarness, running_shipper
from support.sink_doubles import StoringSink
from support.virtual_time import freeze, now, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from logferry.flush.policy import Policy

pytestmark = pytest.mark.timeout(30)
EPOCH_MS = 1_795_224_600_000
CPU_NS_OF_A_SAMPLE = 1_000_000


class CountingSampler:
    """A sampler whose counters are the number of samples and the virtual time."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self.complete: list[bool] = []
        self.inside: list[float] = []
        self.rss = itertools.count(100)

    def sample(self, *, complete: bool = True) -> Sample:
        """Return a sample; the CPU time grows by one millisecond with each, and the counters of the network too."""
        self.samples.append(round(now(), 3))
        self.complete.append(complete)
        number = len(self.samples)
        cpu_ns = number * CPU_NS_OF_A_SAMPLE
        if not complete:
            return Sample(7, cpu_ns, number)
        return Sample(7, cpu_ns, number, (None, None, number, None), {"rssBytes": 10, "threads": 1})

    def levels(self) -> dict[str, int]:
        """Return values, of which the memory grows."""
        self.inside.append(round(now(), 3))
        return {"rssBytes": next(self.rss), "threads": 1}

    def own_cpu_ns(self) -> int:
        """Return no CPU time."""
        return 0


class CountingProcesses:
    """A source of `logferry.usage` records."""

    def take(self, seconds: float) -> dict[str, object]:
        """Return the seconds."""
        return {"seconds": round(seconds, 3)}


@asynccontextmanager
async def shipper(
    directory: Path,
    *,
    policy: Policy = INVOCATION,
    managed: bool = False,
    interval: float = 0.0,
    complete: float = 1.0,
    usage: bool = True,
    restarted: bool = False,
    calls: bool = True,
) -> AsyncIterator[tuple[ShipperHarness, InvocationRecords, StoringSink, CountingSampler]]:
    """Run a shipper that makes summaries."""
    sampler, sink = CountingSampler(), StoringSink()
    processes = CountingProcesses() if managed else None
    source = UsageSource(sampler, processes, 128, interval, complete)  # type: ignore[arg-type]
    made: list[InvocationRecords] = []

    def records(it: ShipperHarness) -> InvocationRecords:
        made.append(
            InvocationRecords(
                store=it.intake.store,
                invocations=it.invocations,
                clock_ms=lambda: EPOCH_MS + round(now() * 1000),
                managed=managed,
                restarted=restarted,
                calls=calls,
                events=True,
                usage=source if usage else None,
            )
        )
        it.invocations.observers.append(made[0].on_event)
        it.scheduler.observe_invoke = made[0].on_invoke
        return made[0]

    async with running_shipper(directory, sink, policy=policy, managed=managed, records=records) as it:
        yield it, made[0], sink, sampler


def summaries_in(sink: StoringSink) -> list[dict[str, Any]]:
    """Return the stored summaries."""
    return [r["record"] for r in sink.records() if r["type"] == "logferry.invocation"]


def end(
    it: ShipperHarness, request: str, *, at: float | None = None, kind: str = "runtimeDone", status: str = "success"
) -> None:
    """Deliver the end of an invocation, with the time of its production."""
    time = iso(EPOCH_MS + round((now() if at is None else at) * 1000))
    record = {"requestId": request, "status": status, "metrics": {"durationMs": 5.0}}
    it.deliver({"time": time, "type": f"platform.{kind}", "record": record})


async def invoke(it: ShipperHarness, request: str, *, runs: float = 0.1, status: str = "success") -> None:
    """Run an invocation."""
    number = it.invoke(request)
    it.starts(request)
    await asyncio.sleep(runs)
    end(it, request, status=status)
    await asyncio.sleep(0)  # the sample is taken in the next step of the event loop
    await it.done(number)


def test_summary_is_in_the_object_of_its_invocation(tmp_path: Path) -> None:
    """It has the time of the end, the request as a column, and is made once."""

    async def scenario() -> None:
        async with shipper(tmp_path) as (it, records, sink, sampler):
            number = it.invoke("r1")
            it.starts("r1")
            await asyncio.sleep(0.1)
            records.summaries.on_event("logferry.call", {"host": "a", "durationMs": 3.5, "status": 200}, "r1")
            records.summaries.on_lost("limit", 2, "r1")
            at = now()
            end(it, "r1")
            await it.done(number)
            assert len(sink.objects) == 1
            (stored,) = [r for r in sink.records() if r["type"] == "logferry.invocation"]
            assert (stored["time"], stored["requestId"]) == (iso(EPOCH_MS + round(at * 1000)), "r1")
            usage = stored["record"].pop("usage")
            assert stored["record"] == {
                "requestId": "r1",
                "status": "success",
                "durationMs": 5.0,
                "calls": {
                    "count": 1,
                    "errors": 0,
                    "ms": 3.5,
                    "slowest": 3.5,
                    "hosts": [{"host": "a", "count": 1, "errors": 0, "ms": 3.5}],
                },
                "events": 0,
                "lost": {"limit": 2},
            }
            assert usage["cpuMs"] == 1.0
            end(it, "r1", kind="report")
            await it.done(it.shut_down())
            assert len(summaries_in(sink)) == 1
            assert len(sampler.samples) == 2

    run(scenario())


def test_sample_is_the_end_of_one_invocation_and_the_start_of_the_next(tmp_path: Path) -> None:
    """A freeze in between belongs to no invocation, because counters stand still."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, sampler):
            for n in range(5):
                await invoke(it, f"r{n}")
                end(it, f"r{n}", kind="report")
                freeze(100)
            await it.done(it.shut_down())
            found = summaries_in(sink)
            assert [each["requestId"] for each in found] == [f"r{n}" for n in range(5)]
            assert [each["usage"]["cpuMs"] for each in found] == [1.0] * 5
            assert not [each for each in found if "late" in each["usage"]]
            assert len(sampler.samples) == 6

    run(scenario())


def test_sample_at_the_next_invoke_is_late(tmp_path: Path) -> None:
    """The environment was frozen before the end was delivered, and the next INVOKE arrives first."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, sampler):
            await it.done(it.invoke("r1"))
            it.starts("r1")
            await asyncio.sleep(0.1)
            ended = now()
            freeze(600)
            number = it.invoke("r2")
            await it.done(number)
            thawed = round(now(), 3)
            end(it, "r1", at=ended)
            it.starts("r2")
            await asyncio.sleep(0.1)
            end(it, "r2")
            await asyncio.sleep(0.1)
            await it.done(it.shut_down())
            first, second = summaries_in(sink)
            assert (first["requestId"], first["usage"]["late"], first["usage"]["cpuMs"]) == ("r1", True, 1.0)
            assert (second["requestId"], second["usage"].get("late"), second["usage"]["cpuMs"]) == ("r2", None, 1.0)
            assert sampler.samples[1] == thawed
            assert len(sampler.samples) == 3

    run(scenario())


def test_sample_long_after_the_end_is_late(tmp_path: Path) -> None:
    """The end is delivered after the thaw, before the event that caused it."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, _sampler):
            await it.done(it.invoke("r1"))
            it.starts("r1")
            ended = now()
            freeze(600)
            end(it, "r1", at=ended)
            await asyncio.sleep(0.1)
            await it.done(it.shut_down())
            assert summaries_in(sink)[0]["usage"]["late"] is True

    run(scenario())


def test_nothing_is_sampled_before_the_first_invoke(tmp_path: Path) -> None:
    """A sample of the Init phase would be part of a SnapStart snapshot, and of every clone."""

    async def scenario() -> None:
        async with shipper(tmp_path) as (it, _, _sink, sampler):
            it.deliver({"type": "platform.initStart", "record": {"initializationType": "snap-start"}})
            await asyncio.sleep(1000)
            assert sampler.samples == []
            await invoke(it, "r1")
            assert len(sampler.samples) == 2
            assert sampler.samples[0] >= 1000

    run(scenario())


@pytest.mark.parametrize(("reason", "status"), [("timeout", "timeout"), ("spindown", None), ("failure", None)])
def test_invocation_without_an_end_is_summarized_at_shutdown(tmp_path: Path, reason: str, status: str | None) -> None:
    """The calls before a timeout are not lost."""

    async def scenario() -> None:
        async with shipper(tmp_path) as (it, records, sink, _):
            number = it.invoke("r1", seconds=3)
            it.starts("r1")
            records.summaries.on_event("logferry.call", {"host": "a"}, "r1")
            await it.done(number)
            await it.done(it.shut_down(reason=reason))
            (found,) = summaries_in(sink)
            assert (found["requestId"], found.get("status"), found["calls"]["count"]) == ("r1", status, 1)
            assert found["usage"]["late"] is True

    run(scenario())


def test_report_ends_an_invocation_whose_end_was_dropped(tmp_path: Path) -> None:
    """The platform may drop `platform.runtimeDone`."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, _sampler):
            await it.done(it.invoke("r1"))
            it.starts("r1")
            end(it, "r1", kind="report")
            await it.done(it.shut_down())
            assert [each["requestId"] for each in summaries_in(sink)] == ["r1"]

    run(scenario())


def test_refused_summary_is_stored_later_and_never_refuses_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that ended the invocation is accepted although the journal takes no summary."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, _sampler):
            original = it.journal.append

            def refuse_internal(body: bytes) -> None:
                if b"logferry.invocation" in body:
                    raise JournalFull("no room")
                original(body)

            monkeypatch.setattr(it.journal, "append", refuse_internal)
            await invoke(it, "r1")
            await asyncio.sleep(0.1)
            monkeypatch.setattr(it.journal, "append", original)
            await invoke(it, "r2")
            await it.done(it.shut_down())
            assert [each["requestId"] for each in summaries_in(sink)] == ["r1", "r2"]

    run(scenario())


def test_events_in_the_pipe_are_read_before_the_summary(tmp_path: Path) -> None:
    """The runtime wrote them before it requested the next invocation."""

    async def scenario() -> None:
        async with shipper(tmp_path) as (it, records, sink, _):
            waiting = ["logferry.event"] * 3

            def drain() -> None:
                while waiting:
                    records.summaries.on_event(waiting.pop(), {"event": "x"}, "r1")

            records.drain = drain
            await invoke(it, "r1")
            assert summaries_in(sink)[0]["events"] == 3

    run(scenario())


def test_interval_adds_maxima_of_samples_inside_the_invocation(tmp_path: Path) -> None:
    """The timer stops with the invocation."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, interval=1.0) as (it, _, sink, sampler):
            await invoke(it, "r1", runs=4.5)
            await asyncio.sleep(60)
            assert len(sampler.inside) == 4
            await invoke(it, "r2", runs=0.5)
            await it.done(it.shut_down())
            first, second = summaries_in(sink)
            assert first["usage"]["maxRssBytes"] == 103
            assert second["usage"]["maxRssBytes"] == 10

    run(scenario())


def test_restarted_shipper_marks_the_summary_as_partial(tmp_path: Path) -> None:
    """An earlier process has counted a part of the running invocation."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, *_):
            await it.done(it.invoke("r1"))
            it.starts("r1")
        async with shipper(tmp_path, policy=NEVER, restarted=True) as (it, _, sink, _sampler):
            await it.done(it.invoke("r1", again=True))
            end(it, "r1")
            await asyncio.sleep(0.1)
            await invoke(it, "r2")
            await it.done(it.shut_down())
            found = {each["requestId"]: each.get("partial") for each in summaries_in(sink)}
            assert found == {"r1": True, "r2": None}

    run(scenario())


def test_restarted_shipper_without_a_delivery_marks_the_summary_as_partial(tmp_path: Path) -> None:
    """The earlier process has received the INVOKE, but no `platform.start`; a new event arrives first."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, *_):
            await it.done(it.invoke("r1"))
        async with shipper(tmp_path, policy=NEVER, restarted=True) as (it, records, sink, _sampler):
            records.summaries.on_event("logferry.event", {"event": "x"}, "r1")
            await it.done(it.invoke("r1", again=True))
            it.starts("r1")
            end(it, "r1")
            await asyncio.sleep(0.1)
            await invoke(it, "r2")
            await it.done(it.shut_down())
            found = {each["requestId"]: each.get("partial") for each in summaries_in(sink)}
            assert found == {"r1": True, "r2": None}

    run(scenario())


def test_restarted_shipper_on_managed_instances_marks_invocations_without_a_start(tmp_path: Path) -> None:
    """There is no INVOKE event. The earlier process has received the start of the first invocation."""

    async def scenario() -> None:
        async with shipper(tmp_path, managed=True, policy=NEVER, restarted=True) as (it, records, sink, _sampler):
            for request in ("r1", "r2"):
                records.summaries.on_event("logferry.event", {"event": "x"}, request)
            it.starts("r2")
            end(it, "r1", kind="report")
            end(it, "r2", kind="report")
            await asyncio.sleep(0.1)
            await it.done(it.shut_down())
            found = {each["requestId"]: each.get("partial") for each in summaries_in(sink)}
            assert found == {"r1": True, "r2": None}

    run(scenario())


def test_managed_instances_have_usage_by_the_minute_and_summaries_by_the_report(tmp_path: Path) -> None:
    """Invocations overlap, so an invocation has no separate usage."""

    async def scenario() -> None:
        async with shipper(tmp_path, managed=True, policy=NEVER) as (it, records, sink, sampler):
            for request in ("r1", "r2"):
                it.starts(request)
                records.summaries.on_event("logferry.event", {"event": "x"}, request)
            end(it, "r2", kind="report")
            end(it, "r1", kind="report")
            await asyncio.sleep(3 * PROCESS_USAGE_SECONDS + 1)
            await it.done(it.shut_down())
            found = [(each["requestId"], each["events"], "usage" in each) for each in summaries_in(sink)]
            assert found == [("r2", 1, False), ("r1", 1, False)]
            assert sampler.samples == []
            usage = [r["record"] for r in sink.records() if r["type"] == "logferry.usage"]
            assert usage == [{"seconds": PROCESS_USAGE_SECONDS}] * 3

    run(scenario())


def test_summaries_without_usage_take_no_sample(tmp_path: Path) -> None:
    """Usage is a separate feature."""

    async def scenario() -> None:
        async with shipper(tmp_path, usage=False) as (it, _, sink, sampler):
            await invoke(it, "r1")
            assert "usage" not in summaries_in(sink)[0]
            assert sampler.samples == []

    run(scenario())


def test_samples_are_complete_once_a_second_and_at_the_end_of_a_failed_invocation(tmp_path: Path) -> None:
    """The files of /proc are most of the cost of a sample. The sum of the counters over all invocations is exact."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, sink, sampler):
            await invoke(it, "r0")
            for n in range(1, 12):
                await invoke(it, f"r{n}", status="error" if n == 5 else "success")
            freeze(60)
            await invoke(it, "after a freeze")
            await it.done(it.shut_down())
            found = {each["requestId"]: each["usage"] for each in summaries_in(sink)}
            complete = [name for name, usage in found.items() if "rssBytes" in usage]
            assert complete == ["r0", "r5", "after a freeze"]
            assert [name for name, usage in found.items() if "receivedBytes" in usage] == complete
            assert sum(usage.get("receivedBytes", 0) for usage in found.values()) == len(sampler.samples) - 1
            assert all(usage["cpuMs"] == 1.0 for usage in found.values())
            assert len(found) == 13

    run(scenario())


def test_each_sample_is_complete_if_that_is_requested(tmp_path: Path) -> None:
    """With `LOGFERRY_USAGE_COMPLETE_SECONDS=0`, no invocation lacks a field."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, complete=0.0) as (it, _, sink, sampler):
            for n in range(5):
                await invoke(it, f"r{n}")
            await it.done(it.shut_down())
            assert [each["usage"]["receivedBytes"] for each in summaries_in(sink)] == [1] * 5
            assert all("rssBytes" in each["usage"] for each in summaries_in(sink))
            assert len(sampler.samples) == 6

    run(scenario())


def test_sample_is_complete_although_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next complete sample would be a year away."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER) as (it, _, _sink, sampler):
            await invoke(it, "r0")
            await invoke(it, "r1")
            monkeypatch.setitem(globals(), "EPOCH_MS", EPOCH_MS - 31_536_000_000)
            await invoke(it, "r2")
            assert sampler.complete == [True, True, False, True]

    run(scenario())


@pytest.mark.parametrize("kind", ["logferry.event", "logferry.metric", "lost"])
def test_events_alone_give_a_summary_only_if_there_is_something_to_count(tmp_path: Path, kind: str) -> None:
    """The platform's record has the status and the duration of all invocations."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, usage=False, calls=False) as (it, records, sink, _):
            await invoke(it, "without")
            number = it.invoke("with")
            it.starts("with")
            if kind == "lost":
                records.summaries.on_lost("limit", 3, "with")
            else:
                records.summaries.on_event(kind, {}, "with")
            end(it, "with")
            await it.done(number)
            await invoke(it, "without again")
            await it.done(it.invoke("at shutdown"))
            await it.done(it.shut_down())
            assert [each["requestId"] for each in summaries_in(sink)] == ["with"]

    run(scenario())


def test_events_alone_give_a_summary_after_a_read_of_the_pipe(tmp_path: Path) -> None:
    """Whether an invocation had events is known only after the pipe has been read."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, usage=False, calls=False) as (it, records, sink, _):
            waiting = ["r1"]

            def drain() -> None:
                while waiting:
                    records.summaries.on_event("logferry.event", {"event": "x"}, waiting.pop())

            records.drain, records.has_waiting = drain, lambda: bool(waiting)
            await invoke(it, "r1")
            await invoke(it, "r2")
            await it.done(it.shut_down())
            assert [(each["requestId"], each["events"]) for each in summaries_in(sink)] == [("r1", 1)]

    run(scenario())


def test_partial_invocation_has_a_summary_without_events(tmp_path: Path) -> None:
    """An earlier process may have counted events."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, usage=False, calls=False, restarted=True) as (it, _, sink, _sampler):
            await it.done(it.invoke("r1", again=True))
            end(it, "r1")
            await it.done(it.shut_down())
            assert [(each["requestId"], each["partial"]) for each in summaries_in(sink)] == [("r1", True)]

    run(scenario())


@pytest.mark.parametrize("has_call", [False, True])
def test_missing_calls_are_noticed_once_after_the_first_invocation(tmp_path: Path, *, has_call: bool) -> None:
    """A call of the Init phase shows a hook too."""

    async def scenario() -> None:
        async with shipper(tmp_path, policy=NEVER, usage=False) as (it, records, _, _sampler):
            noticed: list[str] = []
            records.on_first_end_without_calls = lambda: noticed.append("missing")
            if has_call:
                records.summaries.on_event("logferry.call", {"host": "a"}, None)
            assert noticed == []
            for request in ("r1", "r2"):
                await invoke(it, request)
            await it.done(it.shut_down())
            assert noticed == ([] if has_call else ["missing"])

    run(scenario())
