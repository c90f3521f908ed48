"""Summaries of invocations with calls, events and losses: a real function with the hook, and the real extension."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.demo_service import local_service
from logferry.layer import inputs
from support.end_to_end import arrived_in, assert_exactly_once, environment, records_of
from support.workload import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOOK = str(inputs.CHECKOUT / inputs.HOOKS / "python")
HOST = "127.0.0.1"


@pytest.fixture
def service_url() -> Iterator[str]:
    """Run an HTTP service on loopback."""
    with local_service() as url:
        yield url


def settings(calls: str, **more: str) -> dict[str, str]:
    """Return the settings of a function whose calls are recorded."""
    return {"LOGFERRY_CALLS": calls, "PYTHONPATH": HOOK, **more}


def calls_by_request(tmp_path: Path) -> Counter[str]:
    """Return the number of stored calls of each request."""
    records = records_of(arrived_in(tmp_path / "out"))
    return Counter(str(record.get("requestId")) for record in records if record["type"] == "logferry.call")


@pytest.mark.parametrize("flush", ["invocation", "time"])
@pytest.mark.parametrize("calls", ["summary", "each"])
async def test_summary_counts_the_calls_of_its_invocation(
    tmp_path: Path, service_url: str, calls: str, flush: str
) -> None:
    """Frozen between invocations; in the mode `summary` no call has a record."""
    made = [("/a", "/status/500"), (), ("/b", "/c", "/d", "/status/404")]
    async with environment(tmp_path, settings(calls, LOGFERRY_FLUSH=flush)) as service:
        sent = []
        for paths in made:
            urls = [service_url + path for path in paths]
            sent.append((await service.invoke({"get": urls})).request_id)
            await service.idle_for(0.3)
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    summaries = stored(tmp_path, "invocation")
    assert [summary["requestId"] for summary in summaries] == sent
    counted = [(summary["calls"]["count"], summary["calls"]["errors"]) for summary in summaries]
    assert counted == [(2, 1), (0, 0), (4, 1)]
    for summary in summaries:
        hosts = summary["calls"]["hosts"]
        assert [host["host"] for host in hosts] == [HOST] * bool(summary["calls"]["count"])
        assert sum(host["ms"] for host in hosts) == pytest.approx(summary["calls"]["ms"], abs=0.01)
        assert "usage" not in summary
        assert "lost" not in summary
    expected = {request: len(paths) for request, paths in zip(sent, made, strict=True) if paths}
    assert calls_by_request(tmp_path) == (expected if calls == "each" else {})


async def test_summary_of_a_timeout_has_the_calls_before_it(tmp_path: Path, service_url: str) -> None:
    """The function is killed after two calls."""
    async with environment(tmp_path, settings("each"), timeout_seconds=2.0) as service:
        late = await service.invoke({"get": [f"{service_url}/a", f"{service_url}/b"], "sleep_ms": 4000})
        await service.shutdown()
    (summary,) = stored(tmp_path, "invocation")
    assert (summary["requestId"], summary["status"], summary["calls"]["count"]) == (late.request_id, "timeout", 2)
    assert calls_by_request(tmp_path) == {late.request_id: 2}
    assert [each["requestId"] for each in stored(tmp_path, "timeout")] == [late.request_id]


async def test_events_over_the_limit_are_in_the_losses_of_the_summary(tmp_path: Path, service_url: str) -> None:
    """Stored calls and reported losses are together what the function sent."""
    given = settings("each", LOGFERRY_EVENTS_LIMIT="5")
    async with environment(tmp_path, given, timeout_seconds=10) as service:
        await service.invoke({"get": [f"{service_url}/{n}" for n in range(12)]})
        await service.shutdown()
    (summary,) = stored(tmp_path, "invocation")
    assert calls_by_request(tmp_path).total() == summary["calls"]["count"] == 5
    assert summary["lost"] == {"limit": 7}


async def test_concurrent_invocations_have_their_own_calls(tmp_path: Path, service_url: str) -> None:
    """Managed Instances: each process states its request in each line."""
    config: dict[str, Any] = {"initialization_type": "lambda-managed-instances"}
    config |= {"max_concurrency": 3, "runtime_processes": 3}
    given = settings("each", LOGFERRY_FLUSH_SECONDS="0.5")
    async with environment(tmp_path, given, **config) as service:
        events = [{"get": [f"{service_url}/{n}/{call}" for call in range(n)], "sleep_ms": 30} for n in range(1, 7)]
        results = await asyncio.gather(*(service.invoke(event) for event in events))
        await service.idle_for(1.5)
        await service.shutdown()
        assert_exactly_once(service, arrived_in(tmp_path / "out"))
    expected = {result.request_id: number for number, result in enumerate(results, start=1)}
    counted = {summary["requestId"]: summary["calls"]["count"] for summary in stored(tmp_path, "invocation")}
    assert counted == expected
    assert calls_by_request(tmp_path) == expected
