"""Monthly costs: hand-calculated sums, general properties, and figures of the benchmark."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from benchmark import log_lines
from logferry.cli.cost import model
from logferry.cli.cost.model import (
    Function,
    MonthlyCost,
    candidates,
    cheapest,
    environments_needed,
    monthly_costs,
)
from logferry.cli.cost.prices import load
from logferry.flush.policy import Timing
from logferry.records.encoder import encode
from logferry.records.model import Header, Origin
from logferry.records.object_key import DEFAULT_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "tests" / "benchmark" / "README.md"]
FIGURES = "".join(path.read_text() for path in DOCUMENTS if path.exists())
PRICES = load()
EACH_SECOND = Function(
    invocations_per_day=86_400,
    lines=5,
    size=1000,
    memory_mb=1024,
    duration_ms=100,
    architecture="x86_64",
    environments=1,
    retention_days=30,
    lifetime_hours=1,
    idle_minutes=10,
    put_ms=20,
)
"""One invocation per second: 2,592,000 per month, in 720 environments with 3,600 each."""
BATCHED = model.STORED_SHARE + model.STORED_INVOCATION_BYTES / 1000
"""Stored bytes per logged byte, if an invocation logs 1,000 bytes and many share an object."""


def costs_of(function: Function = EACH_SECOND, **chosen: str) -> Mapping[str, MonthlyCost]:
    """Return the costs of a function by name, with both timings and these settings."""
    variables = {f"LOGFERRY_{name.upper()}": value for name, value in chosen.items()}
    return {each.name: each for each in monthly_costs(function, PRICES, candidates(variables, list(Timing)))}


def test_monthly_costs_of_one_object_per_invocation_equal_the_hand_calculation() -> None:
    """The sum has 2,592,000 PUTs and 720 at SHUTDOWN, 0.005 USD per thousand: 12.9636 USD.

    Each invocation is extended by 25 + 20 + 4 = 49 ms, 127,008 s in all. Each environment adds 48 +
    20 + 10 = 78 ms, 56.16 s in all. 127,064.16 s of 1 GB cost 0.0000166667 USD each: 2.117740 USD.
    Stored are 2,592,000 x (0.3 x 1000 + 100) + 2,592,720 x 400 = 2,073,888,000 bytes: 1.931458 GB
    of 2^30. At 0.023 USD they cost 0.0444235 USD.
    """
    found = costs_of()["invocation"]
    assert found.puts == pytest.approx(2_592_720)
    assert found.added_seconds == pytest.approx(127_064.16)
    assert found.stored_gb == pytest.approx(1.931458, rel=1e-6)
    assert found.max_delay_seconds == pytest.approx(0.1)
    assert found.usd == pytest.approx({"PUTs": 12.9636, "time": 2.117740, "storage": 0.0444235}, rel=1e-5)


def test_monthly_costs_of_time_in_the_next_invocation_equal_the_hand_calculation() -> None:
    """Each 60th INVOKE has a flush, at seconds 60 to 3,540, then SHUTDOWN: 60 objects.

    43,200 PUTs: 0.216 USD. Added are 3,600 x 0.5 ms + 78 ms per environment, 720 times: 1352.16 s,
    0.022536 USD. Stored are 2,592,000 x 400 + 43,200 x 400 = 1,054,080,000 bytes: 0.981688 GB,
    0.022579 USD. SHUTDOWN stores the records of the last minute, ten minutes after the last
    invocation. That invocation began 59 s after the seal: 59.1 + 600 s.
    """
    found = costs_of()["time, next-invocation"]
    assert found.puts == pytest.approx(43_200)
    assert found.added_seconds == pytest.approx(1352.16)
    assert found.usd == pytest.approx({"PUTs": 0.216, "time": 0.022536, "storage": 0.022579}, rel=1e-4)
    assert found.max_delay_seconds == pytest.approx(659.1)


def test_monthly_costs_of_awss_destinations_equal_the_hand_calculation() -> None:
    """3.065765 GB cost 0.50 USD each in CloudWatch, and 0.25 USD in S3.

    They are 2,592,000 x (1000 + 270) bytes.

    Stored are 0.3 of that: 0.919729 GB, at 0.03 USD in CloudWatch and 0.023 USD in S3.
    """
    found = costs_of()
    assert found["CloudWatch"].usd == pytest.approx({"ingestion": 1.532882, "storage": 0.027592}, rel=1e-4)
    assert found["Lambda to S3"].usd == pytest.approx({"ingestion": 0.766441, "storage": 0.021154}, rel=1e-4)


def test_each_invocation_of_a_rare_function_has_its_own_environment() -> None:
    """With an hour between invocations, each one is a cold start with two objects."""
    found = costs_of(replace(EACH_SECOND, invocations_per_day=24))
    assert found["adaptive"].puts == 2 * 24 * 30
    assert found["size"].puts == 24 * 30
    assert found["size"].added_seconds == pytest.approx(24 * 30 * (48 + 20 + 10 + 0.5) / 1000)


def test_added_time_in_the_next_invocation_is_the_rest_of_the_upload() -> None:
    """An upload of 20 + 4 ms extends a function of 10 ms by 14 ms, 3,599 times per environment."""
    found = costs_of(replace(EACH_SECOND, duration_ms=10))["invocation, next-invocation"]
    exactly = 720 * (3599 * 14 + 3600 * 0.5 + 69) / 1000
    assert found.added_seconds == pytest.approx(exactly, rel=0.005)


def test_thresholds_have_the_meaning_of_the_settings() -> None:
    """One object per ten invocations makes 360 and one at SHUTDOWN.

    The threshold also limits `size`.
    """
    found = costs_of(flush_invocations="10")
    assert found["invocation"].puts == pytest.approx(720 * 361)
    assert found["size"].puts == pytest.approx(720 * 361)


def test_timings_with_the_same_cost_share_a_row() -> None:
    """The threshold of `size` is reached while records arrive, with either timing."""
    assert costs_of()["size"].timing is None
    assert costs_of()["time"].timing == "post-execution"
    assert list(costs_of()) == [
        *(
            "invocation",
            "invocation, next-invocation",
            "time",
            "time, next-invocation",
            "size",
            "adaptive",
            "adaptive, next-invocation",
        ),
        *("CloudWatch", "Lambda to S3"),
    ]


def test_cheapest_within_a_cent_is_the_one_with_the_shortest_delay() -> None:
    """A difference below one cent per month does not justify a longer delay."""

    def cost(name: str, usd: float, delay: float) -> MonthlyCost:
        return MonthlyCost(
            name, name, None, puts=0, added_seconds=0, stored_gb=0, max_delay_seconds=delay, usd={"PUTs": usd}
        )

    slow, fast, expensive = cost("size", 1.0, 900), cost("time", 1.009, 60), cost("invocation", 1.02, 0.1)
    assert cheapest([slow, fast, expensive]) is fast
    assert cheapest([slow, expensive]) is slow
    assert cheapest([cost("invocation", 1.0, 1), cost("adaptive", 1.0, 1)]).name == "adaptive"


@pytest.mark.parametrize(
    ("per_day", "ms", "needed"), [(1, 1, 1), (86_400, 1000, 1), (86_400, 1001, 2), (10**6, 500, 6)]
)
def test_environments_needed_follow_littles_law(per_day: int, ms: float, needed: int) -> None:
    """Arrival rate times duration: a million invocations per day of 0.5 s need 5.8 environments."""
    assert environments_needed(invocations_per_day=per_day, duration_ms=ms) == needed


@st.composite
def functions(draw: st.DrawFn) -> Function:
    """Generate functions within the limits of Lambda."""
    per_day, ms = draw(st.integers(1, 10**8)), draw(st.floats(1, 900_000))
    return Function(
        invocations_per_day=per_day,
        lines=draw(st.integers(0, 1000)),
        size=draw(st.integers(0, 10**6)),
        memory_mb=draw(st.integers(128, 10_240)),
        duration_ms=ms,
        architecture=draw(st.sampled_from(["x86_64", "arm64"])),
        environments=environments_needed(invocations_per_day=per_day, duration_ms=ms) + draw(st.integers(0, 50)),
        retention_days=draw(st.integers(1, 3650)),
        lifetime_hours=draw(st.floats(0.1, 12)),
        idle_minutes=draw(st.floats(0, 60)),
        put_ms=draw(st.floats(0, 500)),
    )


@settings(deadline=None, max_examples=60)
@given(function=functions(), more=st.integers(0, 10**6))
def test_more_bytes_never_cost_less(function: Function, more: int) -> None:
    """The cost grows with the bytes, within 0.5 %, because long simulations are extrapolated."""
    few, many = costs_of(function), costs_of(replace(function, size=function.size + more))
    for name in few.keys() & many.keys():
        assert few[name].total <= many[name].total * 1.005, name


@settings(deadline=None, max_examples=60)
@given(function=functions())
def test_size_makes_no_more_puts_than_invocation(function: Function) -> None:
    """The rule holds if an invocation logs less than the threshold of 4 MiB."""
    found = costs_of(replace(function, size=min(function.size, 2 << 20), lines=min(function.lines, 100)))
    assert found["size"].puts <= found["invocation"].puts * 1.005


@settings(deadline=None, max_examples=60)
@given(function=functions())
def test_cheapest_has_the_lowest_cost_within_a_cent(function: Function) -> None:
    """The items of a cost add up to its total, and none is negative."""
    found = list(costs_of(function).values())
    assert cheapest(found).total <= min(cost.total for cost in found) + 0.01
    for cost in found:
        assert min(cost.usd.values()) >= 0
        assert cost.total == pytest.approx(sum(cost.usd.values()))


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        (r"\| added to an invocation with one small object \| S3's 20 ms \+ ([\d.]+) ms", model.OBJECT_MS),
        (r"\| added to an invocation in which nothing is due \| ([\d.]+) ms", model.NOTHING_DUE_MS),
        (r"\| SHUTDOWN to the end of the process, one object to ship \| ([\d.]+) ms", model.SHUTDOWN_MS + 20),
        (r"init of 300 ms of CPU on one shared core, with / without \| ([\d.]+) ", 1 + model.INIT_MS / 300),
        (r"\| bytes stored for a byte logged \| ([\d.]+);", BATCHED),
        (
            r"\| bytes stored for a byte logged \| .*; ([\d.]+) where each invocation is an object",
            BATCHED + model.STORED_OBJECT_BYTES / 1000,
        ),
    ],
)
def test_the_constants_are_the_figures_of_the_benchmark(row: str, figure: float) -> None:
    """A new measurement changes both the benchmark's table and the constants of the model."""
    stated = re.search(row, FIGURES)
    assert stated, row
    assert float(stated[1]) == pytest.approx(figure)


@pytest.mark.parametrize("invocations", [1, 10, 200])
@pytest.mark.parametrize("lines", [5, 20, 100])
def test_stored_bytes_are_close_to_those_of_the_encoder(lines: int, invocations: int) -> None:
    """Lines of 200 bytes differ by less than 25 % when stored, and by less than 33 % in the spool."""
    generated, bodies = log_lines.Lines(), []
    for number in range(invocations):
        request = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
        records = [log_lines.start(request), *generated.records(lines, request)]
        bodies += [log_lines.delivery(some) for some in (records, [log_lines.runtime_done(request)])]
        bodies += [log_lines.delivery([log_lines.report(request)])]
    origin = Origin(environment="0a1b2c3d4e5f6071", function="f", version="1", region="us-east-1", concurrent=False)
    header = Header(origin=origin, number=1, opened_ms=1_795_000_000_000, request_id=None)
    made = encode(
        header, bodies, final=False, key=DEFAULT_KEY, compress=True, types=frozenset({"platform", "function"})
    )
    logged = lines * log_lines.LINE_BYTES
    per_invocation = logged * model.STORED_SHARE + model.STORED_INVOCATION_BYTES
    assert invocations * per_invocation + model.STORED_OBJECT_BYTES == pytest.approx(len(made.body), rel=0.25)
    pending = logged + lines * model.ENVELOPE_BYTES + model.PLATFORM_BYTES
    assert pending == pytest.approx(sum(map(len, bodies)) / invocations, rel=0.33)


def test_platform_lines_in_cloudwatch_have_the_assumed_size() -> None:
    """The lines are START, END and REPORT in Lambda's text format, of a function with 1024 MB."""
    request = str(uuid.UUID(int=0))
    lines = (
        f"START RequestId: {request} Version: $LATEST\nEND RequestId: {request}\n"
        f"REPORT RequestId: {request}\tDuration: 100.00 ms\tBilled Duration: 101 ms\tMemory Size: 1024 MB\t"
        "Max Memory Used: 128 MB\t\n"
    )
    assert len(lines) == pytest.approx(model.CLOUDWATCH_PLATFORM_BYTES, rel=0.05)
