"""What a month costs: sums worked out by hand, properties of any function, and constants that the README states."""

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
from logferry.cli.cost import model as billing
from logferry.cli.cost.model import Bill, Function, bills, candidates, cheapest, environments_needed
from logferry.cli.cost.prices import load
from logferry.flush.policy import Timing
from logferry.records.encoder import encode
from logferry.records.model import Header, Origin
from logferry.records.object_key import DEFAULT_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

README = (Path(__file__).parents[3] / "README.md").read_text()
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
    life_hours=1,
    idle_minutes=10,
    put_ms=20,
)
"""One invocation a second: 2,592,000 a month, in 720 lives of an hour with 3,600 each."""
BATCHED = billing.STORED_SHARE + billing.STORED_INVOCATION_BYTES / 1000
"""Stored for a byte logged where an invocation logs 1,000, as in the benchmark, and many share an object."""


def billed(function: Function = EACH_SECOND, **chosen: str) -> Mapping[str, Bill]:
    """Give the bills of a function by their names, with both moments, and these settings without their prefix."""
    variables = {f"LOGFERRY_{name.upper()}": value for name, value in chosen.items()}
    return {each.name: each for each in bills(function, PRICES, candidates(variables, list(Timing)))}


def test_an_object_for_each_invocation_costs_what_arithmetic_says() -> None:
    """2,592,000 PUTs and 720 at SHUTDOWN, 0.005 USD a thousand: 2592.72 x 0.005 = 12.9636 USD.

    Held 25 + 20 + 4 = 49 ms each, 127,008 s; 48 + 20 + 10 = 78 ms a life, 56.16 s: 127,064.16 s of 1 GB, at
    0.0000166667 USD 2.117740 USD. Stored 2,592,000 x (0.3 x 1000 + 100) + 2,592,720 x 400 = 2,073,888,000 bytes, which
    are 1.931458 GB of 2^30, at 0.023 USD 0.0444235 USD.
    """
    found = billed()["invocation"]
    assert found.puts == pytest.approx(2_592_720)
    assert found.added_seconds == pytest.approx(127_064.16)
    assert found.stored_gb == pytest.approx(1.931458, rel=1e-6)
    assert found.longest_wait == pytest.approx(0.1)
    assert found.usd == pytest.approx({"PUTs": 12.9636, "time": 2.117740, "storage": 0.0444235}, rel=1e-5)


def test_time_beside_costs_what_arithmetic_says() -> None:
    """Shipped at each 60th INVOKE, which is not held: at seconds 60, 120 ... 3,540, then SHUTDOWN: 60 objects a life.

    43,200 PUTs: 0.216 USD. Added 3,600 x 0.5 ms + 78 ms a life, 720 lives: 1352.16 s, 0.022536 USD. Stored
    2,592,000 x 400 + 43,200 x 400 = 1,054,080,000 bytes: 0.981688 GB, 0.022579 USD. A record of the last minute waits
    for SHUTDOWN, ten minutes after the end of the last invocation, which began 59 s after the seal: 59.1 + 600 s.
    """
    found = billed()["time, next-invocation"]
    assert found.puts == pytest.approx(43_200)
    assert found.added_seconds == pytest.approx(1352.16)
    assert found.usd == pytest.approx({"PUTs": 0.216, "time": 0.022536, "storage": 0.022579}, rel=1e-4)
    assert found.longest_wait == pytest.approx(659.1)


def test_awss_own_ways_cost_what_arithmetic_says() -> None:
    """2,592,000 x (1000 + 270) bytes = 3.065765 GB: 0.50 USD each to CloudWatch, 0.25 to S3.

    Kept at 0.3 of that: 0.919729 GB, at 0.03 USD in CloudWatch, at 0.023 in S3.
    """
    found = billed()
    assert found["CloudWatch Logs"].usd == pytest.approx({"ingestion": 1.532882, "storage": 0.027592}, rel=1e-4)
    assert found["Lambda to S3"].usd == pytest.approx({"ingestion": 0.766441, "storage": 0.021154}, rel=1e-4)


def test_a_rare_function_lives_once_for_each_invocation() -> None:
    """24 a day, an hour apart: Lambda ends the environment after ten minutes; each is a cold start and two objects."""
    found = billed(replace(EACH_SECOND, invocations_per_day=24))
    assert found["adaptive"].puts == 2 * 24 * 30
    assert found["size"].puts == 24 * 30
    assert found["size"].added_seconds == pytest.approx(24 * 30 * (48 + 20 + 10 + 0.5) / 1000)


def test_a_function_shorter_than_the_upload_pays_for_the_rest_of_it_beside() -> None:
    """20 + 4 ms of upload beside a function of 10 ms: 14 ms for each of 3,599 objects in a life, 0.5 ms for all."""
    found = billed(replace(EACH_SECOND, duration_ms=10))["invocation, next-invocation"]
    exactly = 720 * (3599 * 14 + 3600 * 0.5 + 69) / 1000
    assert found.added_seconds == pytest.approx(exactly, rel=0.005)


def test_the_settings_mean_what_they_mean_to_a_function() -> None:
    """One object for ten invocations: 360 a life and SHUTDOWN's; and the same threshold caps `size`, which has none."""
    found = billed(flush_invocations="10")
    assert found["invocation"].puts == pytest.approx(720 * 361)
    assert found["size"].puts == pytest.approx(720 * 361)


def test_a_moment_that_makes_no_difference_is_not_shown() -> None:
    """`size` ships beside anyway, when the threshold is reached while records come in."""
    assert list(billed()) == [
        *(
            "invocation",
            "invocation, next-invocation",
            "time",
            "time, next-invocation",
            "size",
            "adaptive",
            "adaptive, next-invocation",
        ),
        *("CloudWatch Logs", "Lambda to S3"),
    ]


def test_of_bills_within_a_cent_the_one_that_waits_the_shortest_is_the_cheapest() -> None:
    """For less than a cent a month nobody should wait; for more than one the money decides."""

    def bill(name: str, usd: float, wait: float) -> Bill:
        return Bill(name, name, puts=0, added_seconds=0, stored_gb=0, longest_wait=wait, usd={"PUTs": usd})

    slow, soon, dear = bill("size", 1.0, 900), bill("time", 1.009, 60), bill("invocation", 1.02, 0.1)
    assert cheapest([slow, soon, dear]) is soon
    assert cheapest([slow, dear]) is slow
    assert cheapest([bill("invocation", 1.0, 1), bill("adaptive", 1.0, 1)]).name == "adaptive"


@pytest.mark.parametrize(
    ("per_day", "ms", "needed"), [(1, 1, 1), (86_400, 1000, 1), (86_400, 1001, 2), (10**6, 500, 6)]
)
def test_as_many_environments_as_are_busy_at_a_time(per_day: int, ms: float, needed: int) -> None:
    """Little's law: arrivals a second times seconds; a million a day of half a second keep 5.8 busy."""
    assert environments_needed(invocations_per_day=per_day, duration_ms=ms) == needed


@st.composite
def functions(draw: st.DrawFn) -> Function:
    """Functions of any size that Lambda would run."""
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
        life_hours=draw(st.floats(0.1, 12)),
        idle_minutes=draw(st.floats(0, 60)),
        put_ms=draw(st.floats(0, 500)),
    )


@settings(deadline=None, max_examples=60)
@given(function=functions(), more=st.integers(0, 10**6))
def test_more_bytes_never_cost_less(function: Function, more: int) -> None:
    """Under any policy and with AWS; to half a per cent, for long lives are counted from their beginning."""
    few, many = billed(function), billed(replace(function, size=function.size + more))
    for name in few.keys() & many.keys():
        assert few[name].total <= many[name].total * 1.005, name


@settings(deadline=None, max_examples=60)
@given(function=functions())
def test_size_makes_no_more_puts_than_invocation(function: Function) -> None:
    """As long as an invocation logs less than the threshold; one of 10 MiB is three objects of 4 MiB under `size`."""
    found = billed(replace(function, size=min(function.size, 2 << 20), lines=min(function.lines, 100)))
    assert found["size"].puts <= found["invocation"].puts * 1.005


@settings(deadline=None, max_examples=60)
@given(function=functions())
def test_the_cheapest_is_the_least_of_all_to_a_cent(function: Function) -> None:
    """And what a bill is made of adds up to it, nothing being less than free."""
    found = list(billed(function).values())
    assert cheapest(found).total <= min(bill.total for bill in found) + 0.01
    for bill in found:
        assert min(bill.usd.values()) >= 0
        assert bill.total == pytest.approx(sum(bill.usd.values()))


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        (r"\| added to an invocation with one small object \| S3's 20 ms \+ ([\d.]+) ms", billing.OBJECT_MS),
        (r"\| added to an invocation in which nothing is due \| ([\d.]+) ms", billing.NOTHING_DUE_MS),
        (r"\| SHUTDOWN to the end of the process, one object to ship \| ([\d.]+) ms", billing.SHUTDOWN_MS + 20),
        (r"init of 300 ms of CPU on one shared core, with / without \| ([\d.]+) ", 1 + billing.INIT_MS / 300),
        (r"\| bytes stored for a byte logged \| ([\d.]+);", BATCHED),
        (
            r"\| bytes stored for a byte logged \| .*; ([\d.]+) where each invocation is an object",
            BATCHED + billing.STORED_OBJECT_BYTES / 1000,
        ),
    ],
)
def test_the_constants_are_those_that_the_readme_states(row: str, figure: float) -> None:
    """Whoever measures anew changes both: the table "Speed" and the constants in bill.py."""
    stated = re.search(row, README)
    assert stated, row
    assert float(stated[1]) == pytest.approx(figure)


@pytest.mark.parametrize("invocations", [1, 10, 200])
@pytest.mark.parametrize("lines", [5, 20, 100])
def test_what_is_stored_is_near_what_the_encoder_makes(lines: int, invocations: int) -> None:
    """Lines of 200 bytes, alone in an object or with others: within a quarter; and what waits, within a third."""
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
    per_invocation = logged * billing.STORED_SHARE + billing.STORED_INVOCATION_BYTES
    assert invocations * per_invocation + billing.STORED_OBJECT_BYTES == pytest.approx(len(made.body), rel=0.25)
    waits = logged + lines * billing.ENVELOPE_BYTES + billing.PLATFORM_BYTES
    assert waits == pytest.approx(sum(map(len, bodies)) / invocations, rel=0.33)


def test_cloudwatch_is_sent_three_lines_of_the_platform() -> None:
    """START, END and REPORT in Lambda's text format, of a function of 1024 MB."""
    request = str(uuid.UUID(int=0))
    said = (
        f"START RequestId: {request} Version: $LATEST\nEND RequestId: {request}\n"
        f"REPORT RequestId: {request}\tDuration: 100.00 ms\tBilled Duration: 101 ms\tMemory Size: 1024 MB\t"
        "Max Memory Used: 128 MB\t\n"
    )
    assert len(said) == pytest.approx(billing.CLOUDWATCH_PLATFORM_BYTES, rel=0.05)
