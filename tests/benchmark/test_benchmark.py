"""The benchmark's own machinery, in a round of its cheapest figures.

No time is judged here: on a shared machine such a test would fail for its neighbours' sake. What was measured is
printed, the promised ratios with their verdicts among it.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmark import figures_start, figures_warm, log_lines
from benchmark.__main__ import FIGURES
from benchmark.burner import Burner
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.lambda_stub import Stuck
from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from benchmark.rivals import Rival, rivals
from benchmark.s3 import S3
from benchmark.statistic import Row, Spread, Target, ratio, spread
from benchmark.table import markdown
from benchmark.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_SECONDS = 60


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Give a workbench of one round, on the checkout."""
    scratch = tmp_path_factory.mktemp("benchmark")
    burner = Burner()
    with S3(scratch) as s3:
        found = rivals(scratch, layer=False)
        yield Workbench(rivals=found, s3=s3, burner=burner, rounds=1, scratch=scratch, say=lambda _: None)
    burner.close()


def _kept_lines(bench: Workbench, folder: Path, rival: Rival, settings: dict[str, str]) -> list[dict[str, object]]:
    """Invoke a rival once with seven lines, shut it down, and read back what it has stored."""
    folder.mkdir()
    before = bench.s3.stored
    bench.s3.keep(folder)
    with Environment(rival, bench.s3, settings=settings) as environment:
        environment.invoke(lines=7)
        environment.shut_down()
    bench.s3.wait_for_object(before, RUN_SECONDS)
    bench.s3.keep(None)
    texts = [gzip.decompress(file.read_bytes()) for file in sorted(folder.iterdir())]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("name", ["logferry", "naive"])
def test_what_is_compared_really_ships(bench: Workbench, tmp_path: Path, name: str) -> None:
    """A rival that lost its records would be fast for nothing: every line of an invocation arrives, once."""
    rival = {"logferry": bench.rivals.logferry, "naive": bench.rivals.naive}[name]

    stored = _kept_lines(bench, tmp_path / name, rival, PER_INVOCATION if name == "logferry" else {})

    lines = [record["record"] for record in stored if record["type"] == "function"]
    expected = log_lines.Lines()
    assert len(lines) == 7
    assert len(set(map(str, lines))) == 7
    assert all(len(str(line)) == len(expected.line("")) for line in lines)
    assert [record["type"] for record in stored].count("platform.runtimeDone") == 1


def test_the_physical_limit_compiles_and_asks_for_events(bench: Workbench) -> None:
    """The C program goes the whole way from registration to SHUTDOWN, or is left out where there is no compiler."""
    if bench.rivals.c is None:
        pytest.skip("no C compiler here")

    with Environment(bench.rivals.c, bench.s3) as environment:
        environment.begin()
        environment.stub.wait_for_next(RUN_SECONDS)
        seconds = environment.shut_down()

    assert 0 < seconds < RUN_SECONDS
    assert environment.stub.port


@pytest.mark.parametrize("measure", [figures_start.start, figures_start.warm_up, figures_warm.nothing_due])
def test_a_figure_is_a_number_with_a_spread(bench: Workbench, measure: object) -> None:
    """Every row has a positive value inside its spread, and a verdict exactly where it has a target."""
    assert callable(measure)

    rows = list(measure(bench))

    assert rows
    for row in rows:
        print(f"{row.name}: {row.value} {row.unit} {row.verdict} {row.detail}")
        assert math.isfinite(row.value.median)
        assert 0 < row.value.low <= row.value.median <= row.value.high
        assert bool(row.verdict) == (row.target is not None)


def test_an_upload_is_timed_from_the_end_of_the_function(bench: Workbench) -> None:
    """The stand-in's service time is in the figure, because "done" is said after the object is stored."""
    with Environment(bench.rivals.logferry, bench.s3, settings=PER_INVOCATION) as environment:
        environment.invoke()
        warm = environment.invoke()
        before = bench.s3.stored
        environment.frozen(bench.s3.close_connections)
        reconnected = environment.invoke()
        bench.s3.wait_for_object(before, RUN_SECONDS)

    for invoked in (warm, reconnected):
        assert invoked.post >= 0.02
        assert invoked.next_after > invoked.post


def test_an_extension_that_dies_is_reported_with_its_words(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that cannot start ends the run with its own output, not with a number."""
    dying = Environment(Rival("dying", ["/bin/sh", "-c", "echo no such setting"]), bench.s3)
    monkeypatch.setattr("benchmark.environment.NEXT_SECONDS", 0.5)

    with pytest.raises(Stuck, match=r"dying: .*no such setting"):
        dying.__enter__()


def test_a_callers_variables_do_not_leak_into_what_is_measured(bench: Workbench) -> None:
    """PYTHONDONTWRITEBYTECODE or SSL_CERT_FILE of whoever runs the benchmark would change the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.setenv("SSL_CERT_FILE", "/nowhere")
        with Environment(bench.rivals.logferry, bench.s3) as environment:
            environ = Path(f"/proc/{environment.group}/environ").read_bytes()

    assert b"AWS_LAMBDA_RUNTIME_API=" in environ
    assert b"PYTHONDONTWRITEBYTECODE" not in environ
    assert b"SSL_CERT_FILE" not in environ


@pytest.mark.skipif(bool(why_impossible()), reason=str(why_impossible()))
def test_a_quota_slows_the_function_and_leaves_nothing_behind(bench: Workbench) -> None:
    """A share of 7 % makes the same work last several times as long; afterwards the group is gone."""
    work = bench.burner.work(30)  # the kernel looks every few milliseconds: less may be over before it does
    unhindered = []
    for _ in range(5):  # neighbours only ever add to it
        work.begin()
        unhindered.append(work.finish())
    free = min(unhindered)
    with Quota(SHARE_AT_128_MB) as quota:
        quota.add(bench.burner.pid)
        quota.impose()
        work.begin()
        limited = work.finish()
        door = quota.door

    assert limited > 3 * free
    assert not door.exists()


def test_medians_and_ratios_are_those_of_the_rounds() -> None:
    """A ratio is that of the medians, its spread that of the rounds' own quotients."""
    assert spread([3, 1, 2]) == Spread(2, 1.2, 2.8)
    assert ratio([2, 4, 6], [1, 2, 2]).median == 2
    assert ratio([2, 4, 6], [1, 2, 2]).high == pytest.approx(2.8)
    assert [Row("", Spread(v, v, v), "x", Target(at_most=1)).verdict for v in (1, 1.1)] == ["met", "not met"]
    assert Row("", Spread(1, 1, 1), "x", Target(at_least=2)).verdict == "not met"


def test_a_numbered_delivery_is_never_the_same_twice() -> None:
    """A delivery that is repeated is a redelivery and is stored once: generated load must not look like one."""
    body = log_lines.delivery(log_lines.Lines().records(3, "id"))

    first, second = log_lines.numbered(body, 1), log_lines.numbered(body, 2)

    assert first != second
    assert json.loads(first)[1:] == json.loads(second)[1:] == json.loads(body)


def test_deliveries_are_cut_as_the_platform_cuts_them() -> None:
    """Each is closed by the record that passes 256 KiB, and none is lost in between."""
    records = log_lines.Lines().records(2_500, "id")

    bodies = log_lines.deliveries(records)

    assert [record for body in bodies for record in json.loads(body)] == records
    assert all(log_lines.DELIVERY_BYTES <= len(body) < log_lines.DELIVERY_BYTES + 400 for body in bodies[:-1])


def test_the_command_prints_the_table_and_writes_it_as_markdown(tmp_path: Path) -> None:
    """The one command of the README, with its cheapest figure."""
    written = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmark", "--only", "nothing-due", "--rounds", "1", "--markdown", str(written)]

    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env={"PATH": os.environ["PATH"]}, timeout=RUN_SECONDS,
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "figure" in done.stdout
    row = next(line for line in written.read_text().splitlines() if line.startswith("| added when no flush is due"))
    assert row.count("|") == 7
    assert "| ≤ 1 ms |" in row


def test_every_figure_has_a_name_and_says_what_it_is() -> None:
    """`--only` names them, and a reader of the code finds what each is for."""
    assert all(measure.__doc__ for measure in FIGURES.values())
    assert "| figure |" in markdown([], "heading")
