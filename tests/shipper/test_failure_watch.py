"""Records of timeouts and exhausted memory: in the stream, once, and only after a failure."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import logferry
from logferry.errors import JournalFull
from support.lifecycle_harness import INVOCATION, NEVER, ShipperHarness, running_shipper
from support.sink_doubles import StoringSink
from support.virtual_time import run

if TYPE_CHECKING:
    from logferry.flush.policy import Policy

pytestmark = pytest.mark.timeout(30)
NODE = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"
FULL = {"maxMemoryUsedMB": 128, "memorySizeMB": 128}
EXIT = {"status": "error", "errorType": "Runtime.ExitError"}
_REPORT = b'{"time":"2026-11-21T00:00:00.000Z","type":"platform.report","record":'
_TIMED_OUT = (
    b'{"time":"2026-11-21T00:00:01.000Z","type":"platform.runtimeDone","record":{"requestId":"r1","status":"timeout"}}'
)
CUT_HALVES = (
    b"[" + _TIMED_OUT + b"," + _REPORT + b'{"requestId":"r0","x":"' + b"x" * 300 + b"}]",
    b"[" + _REPORT + b'y"}}]',
)
"""Two batches: the end of an invocation, and a report that is cut in the middle."""


def failures_in(sink: StoringSink) -> list[tuple[str, dict[str, Any]]]:
    """Return the stored records of failures with their types."""
    wanted = ("logferry.timeout", "logferry.outOfMemory")
    return [(r["type"].partition(".")[2], r["record"]) for r in sink.records() if r["type"] in wanted]


def end(it: ShipperHarness, kind: str, request: str, **fields: Any) -> None:
    """Deliver the end or the report of an invocation with further fields."""
    it.deliver({"type": f"platform.{kind}", "record": {"requestId": request, **fields}})


async def fail(it: ShipperHarness, request: str, *lines: str, **fields: Any) -> None:
    """Run an invocation that ends with these fields of its `platform.runtimeDone`."""
    number = it.invoke(request)
    it.starts(request)
    for line in lines:
        it.line(line)
    end(it, "runtimeDone", request, **fields)
    await it.done(number)


def test_timeout_is_stored_with_its_invocation_and_not_repeated(tmp_path: Path) -> None:
    """The record is in the object of the invocation; report and SHUTDOWN add none."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            await fail(it, "r1", "slow", status="timeout", metrics={"durationMs": 3000.0})
            expected = {"requestId": "r1", "evidence": "platform.runtimeDone", "durationMs": 3000.0}
            assert failures_in(sink) == [("timeout", expected)]
            end(it, "report", "r1", status="timeout")
            await it.done(it.shut_down(reason="timeout"))
            assert failures_in(sink) == [("timeout", expected)]
            (stored,) = [r for r in sink.records() if r["type"] == "logferry.timeout"]
            assert stored["time"] == "2026-11-21T00:00:00.000Z"

    run(scenario())


def test_shutdown_names_the_timeout_of_an_invocation_without_an_end(tmp_path: Path) -> None:
    """The platform may not deliver the end of an invocation before it resets the environment."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            await it.run_invocation("r1")
            it.report("r1")
            number = it.invoke("r2", seconds=3)
            it.starts("r2")
            await it.done(number)
            await it.done(it.shut_down(reason="timeout"))
            assert failures_in(sink) == [("timeout", {"requestId": "r2", "evidence": "SHUTDOWN"})]

    run(scenario())


@pytest.mark.parametrize("policy", [INVOCATION, NEVER])
@pytest.mark.parametrize("reason", ["spindown", "failure", "timeout"])
def test_successful_invocations_have_no_failure_record(tmp_path: Path, policy: Policy, reason: str) -> None:
    """An environment that ends without a running invocation has no failure."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=policy) as it:
            for n in range(3):
                await it.run_invocation(f"r{n}")
                it.report(f"r{n}")
            await it.done(it.shut_down(reason=reason))
            assert failures_in(sink) == []

    run(scenario())


@pytest.mark.parametrize("policy", [INVOCATION, NEVER])
def test_last_message_of_the_runtime_is_evidence_of_exhausted_memory(tmp_path: Path, policy: Policy) -> None:
    """The line is delivered before the end of the invocation; the report changes nothing."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=policy) as it:
            await it.run_invocation("r1")
            await fail(it, "r2", "<--- Last few GCs --->", NODE, **EXIT)
            end(it, "report", "r2", **EXIT, metrics=FULL)
            await it.done(it.shut_down(reason="failure"))
            expected = {"requestId": "r2", "evidence": "output", "output": NODE}
            assert failures_in(sink) == [("outOfMemory", expected)]

    run(scenario())


@pytest.mark.parametrize("delay", ["before the report", "after the report"])
def test_message_that_follows_the_end_is_found(tmp_path: Path, delay: str) -> None:
    """The segment of the invocation is uploaded when its last line arrives."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink()) as it:
            await fail(it, "r1", "working", **EXIT)
            assert len(sink.objects) == 1
            for step in (1, 2) if delay == "before the report" else (2, 1):
                if step == 1:
                    it.line(NODE)
                else:
                    end(it, "report", "r1", **EXIT)
                await asyncio.sleep(0.01)
            await it.done(it.shut_down(reason="failure"))
            assert failures_in(sink) == [("outOfMemory", {"requestId": "r1", "evidence": "output", "output": NODE})]

    run(scenario())


def test_report_of_a_later_invocation_names_its_own_request(tmp_path: Path) -> None:
    """The report arrives while the next invocation runs."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            await fail(it, "r1", "working", **EXIT)
            number = it.invoke("r2")
            it.starts("r2")
            end(it, "report", "r1", **EXIT, metrics=FULL)
            it.runtime_done("r2")
            await it.done(number)
            it.report("r2")
            await it.done(it.shut_down())
            assert failures_in(sink) == [("outOfMemory", {"requestId": "r1", "evidence": "memory", **FULL})]

    run(scenario())


def test_message_of_another_invocation_is_no_evidence(tmp_path: Path) -> None:
    """An invocation that succeeds may print the same text."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            await fail(it, "r1", NODE, status="success")
            await fail(it, "r2", "working", status="error", errorType="Function.Unknown")
            await fail(it, "r3", NODE, status="success")
            end(it, "report", "r2", status="error", errorType="Function.Unknown", metrics=FULL)
            await it.done(it.shut_down())
            assert failures_in(sink) == []

    run(scenario())


def test_two_failures_in_one_batch_are_judged_separately(tmp_path: Path) -> None:
    """After a thaw, a batch may have the ends of several invocations and the lines between them."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            records: list[dict[str, Any]] = []
            for request, line in (("r1", "working"), ("r2", NODE)):
                records += [
                    {"type": "platform.start", "record": {"requestId": request}},
                    {"type": "function", "record": line},
                    {"type": "platform.runtimeDone", "record": {"requestId": request, **EXIT}},
                ]
            it.deliver(*records)
            await asyncio.sleep(0.1)
            await it.done(it.shut_down(reason="failure"))
            assert failures_in(sink) == [("outOfMemory", {"requestId": "r2", "evidence": "output", "output": NODE})]

    run(scenario())


def test_managed_instances_are_judged_by_the_report(tmp_path: Path) -> None:
    """Invocations run concurrently, and a line belongs to no request."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), managed=True) as it:
            for n in range(3):
                it.starts(f"r{n}")
            it.line(NODE)
            end(it, "report", "r0", status="timeout", metrics={"durationMs": 5.0})
            end(it, "report", "r1", status="error", errorType="Runtime.OutOfMemory")
            end(it, "report", "r2", **EXIT)
            await it.done(it.shut_down())
            kinds = [(kind, record["requestId"], record["evidence"]) for kind, record in failures_in(sink)]
            assert kinds == [("timeout", "r0", "platform.report"), ("outOfMemory", "r1", "errorType")]

    run(scenario())


def test_record_waits_until_a_cut_record_is_complete(tmp_path: Path) -> None:
    """A body between the two halves would break their join."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            await it.done(it.invoke("r1"))
            it.starts("r1")
            it.intake.accept(CUT_HALVES[0])
            await asyncio.sleep(0.1)
            assert not [body for body in it.journal.open_bodies() if b"logferry.timeout" in body]
            it.intake.accept(CUT_HALVES[1])
            await it.done(it.shut_down())
            assert [kind for kind, _ in failures_in(sink)] == ["timeout"]
            joined = [r for r in sink.records() if r["type"] == "platform.report"]
            assert [len(r["record"]["x"]) for r in joined] == [301]
            assert not [r for r in sink.records() if r["type"] == "logferry.unparsable"]

    run(scenario())


def test_refused_record_is_stored_later_and_never_refuses_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that ended the invocation is accepted although the journal takes no record about it."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            original = it.journal.append

            def refuse_internal(body: bytes) -> None:
                if b"logferry.timeout" in body:
                    raise JournalFull("no room")
                original(body)

            monkeypatch.setattr(it.journal, "append", refuse_internal)
            await fail(it, "r1", status="timeout")
            await asyncio.sleep(0.1)
            monkeypatch.setattr(it.journal, "append", original)
            await it.run_invocation("r2")
            await it.done(it.shut_down())
            assert [kind for kind, _ in failures_in(sink)] == ["timeout"]

    run(scenario())


@pytest.mark.parametrize("stored", [True, False], ids=["record stored", "record not stored"])
def test_restarted_shipper_makes_the_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stored: bool
) -> None:
    """The kill may fall before or after the record; the successor reads the journal."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, StoringSink(), policy=NEVER) as it:
            if not stored:
                monkeypatch.setattr("logferry.shipper.failure_watch.FailureWatch.judge", lambda _: None)
            await fail(it, "r1", status="timeout")
            monkeypatch.undo()
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            end(it, "report", "r1", status="timeout")
            await it.done(it.shut_down())
            assert [kind for kind, _ in failures_in(sink)] == ["timeout"]

    run(scenario())


def test_later_environment_in_the_same_spool_repeats_no_record(tmp_path: Path) -> None:
    """The platform may deliver a report to the process that follows a reset."""

    async def scenario() -> None:
        async with running_shipper(tmp_path, first := StoringSink()) as it:
            await fail(it, "r1", NODE, **EXIT)
            await it.done(it.shut_down(reason="failure"))
        async with running_shipper(tmp_path, second := StoringSink(), environment="e2") as it:
            end(it, "report", "r1", **EXIT, metrics=FULL)
            await it.done(it.shut_down())
        counted = Counter(kind for kind, _ in (*failures_in(first), *failures_in(second)))
        assert counted == {"outOfMemory": 1}

    run(scenario())


def test_function_that_always_fails_is_searched_about_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of the search must not grow with the open segment."""
    read: list[int] = []
    original = logferry.journal.journal.Journal.open_bodies

    def counted(self: Any, *, after: int = 0) -> Any:
        for body in original(self, after=after):
            read.append(len(body))
            yield body

    monkeypatch.setattr(logferry.journal.journal.Journal, "open_bodies", counted)

    async def scenario() -> None:
        async with running_shipper(tmp_path, sink := StoringSink(), policy=NEVER) as it:
            for n in range(60):
                await fail(it, f"r{n}", "working", status="error", errorType="Function.Unknown")
                if n:
                    end(it, "report", f"r{n - 1}", status="error", errorType="Function.Unknown")
            await it.done(it.shut_down())
            assert failures_in(sink) == []

    run(scenario())
    assert 60 * 3 < len(read) < 60 * 3 * 6, "each failure reads the batches of one or two invocations"


def test_modules_that_judge_failures_are_imported_only_after_a_failure() -> None:
    """A start without a failure must not become slower."""
    source = Path(logferry.__file__).parent.parent
    folders = [str(source), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    modules = "logferry.shipper.main, logferry.shipper.event_loop"
    look = f"import sys; sys.path += {folders!r}; import {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    loaded = set(done.stdout.split())
    assert "logferry.shipper.failure_watch" in loaded
    judges = ("shipper.failure_records", "records.failures", "records.memory_errors", "journal.stored_failures")
    assert not {f"logferry.{name}" for name in judges} & loaded
