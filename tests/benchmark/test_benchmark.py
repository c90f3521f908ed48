"""The benchmark's own code, with one round of its fastest figures.

No duration is asserted, because on a shared machine such a test would fail for the load of others.
The figures are printed with their verdicts.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmark import (
    figures_cold_start,
    figures_invocation,
    figures_node_calls,
    figures_python_calls,
    figures_reading,
    log_lines,
)
from benchmark.__main__ import FIGURES
from benchmark.cpu_worker import CpuWorker
from benchmark.environment import PER_INVOCATION, Environment
from benchmark.extensions import Extension, extensions
from benchmark.figures_single_invocation import LINES, live_once, stored_text
from benchmark.lambda_stub import StepTimeout
from benchmark.mount_namespace import MountNamespace
from benchmark.node_function import Caller, EventPipe, calls_server
from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from benchmark.run_context import RunContext
from benchmark.s3 import S3
from benchmark.statistic import Row, Spread, Target, ratio, spread
from benchmark.table import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN_SECONDS = 60
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunContext]:
    """Provide the surroundings of a figure with one round, for the checkout."""
    scratch = tmp_path_factory.mktemp("benchmark")
    worker = CpuWorker()
    with S3(scratch) as s3:
        found = extensions(scratch, layer=False)
        yield RunContext(extensions=found, s3=s3, worker=worker, rounds=1, scratch=scratch, progress=lambda _: None)
    worker.close()


def _kept_lines(
    run: RunContext, folder: Path, extension: Extension, settings: dict[str, str]
) -> list[dict[str, object]]:
    """Run one invocation with seven lines and a shutdown, and read what the extension has stored."""
    folder.mkdir()
    before = run.s3.stored
    run.s3.keep(folder)
    with Environment(extension, run.s3, settings=settings) as environment:
        environment.invoke(lines=7)
        environment.shut_down()
    run.s3.wait_for_object(before, RUN_SECONDS)
    run.s3.keep(None)
    texts = [gzip.decompress(file.read_bytes()) for file in sorted(folder.iterdir())]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("name", ["logferry", "naive"])
def test_compared_extension_stores_every_line_once(run: RunContext, tmp_path: Path, name: str) -> None:
    """An extension that lost its records would have invalid figures: every line of an invocation is stored once."""
    extension = {"logferry": run.extensions.logferry, "naive": run.extensions.naive}[name]

    stored = _kept_lines(run, tmp_path / name, extension, PER_INVOCATION if name == "logferry" else {})

    lines = [record.get("message", record.get("record")) for record in stored if record["type"] == "function"]
    expected = log_lines.Lines()
    assert len(lines) == 7
    assert len(set(map(str, lines))) == 7
    assert all(len(str(line)) == len(expected.line("")) for line in lines)
    assert [record["type"] for record in stored].count("platform.runtimeDone") == 1


def test_minimal_extension_runs_from_registration_to_shutdown(run: RunContext) -> None:
    """The C program registers, requests events and ends at SHUTDOWN; without a compiler it is left out."""
    if run.extensions.c is None:
        pytest.skip("no C compiler here")

    with Environment(run.extensions.c, run.s3) as environment:
        environment.begin()
        environment.stub.wait_for_next(RUN_SECONDS)
        seconds = environment.shut_down()

    assert 0 < seconds < RUN_SECONDS
    assert environment.stub.port


@pytest.mark.parametrize(
    "measure",
    [
        figures_cold_start.start,
        figures_cold_start.startup_cost,
        figures_invocation.nothing_due,
        figures_python_calls.event_cpu,
        pytest.param(figures_node_calls.handler, marks=needs_node),
        pytest.param(figures_node_calls.cold_start, marks=needs_node),
    ],
)
def test_figure_has_a_value_within_its_spread(run: RunContext, measure: object) -> None:
    """Every row has a positive value within its spread, and a verdict if and only if it has a target."""
    assert callable(measure)

    rows = list(measure(run))

    assert rows
    for row in rows:
        print(f"{row.name}: {row.value} {row.unit} {row.verdict} {row.detail}")
        assert math.isfinite(row.value.median)
        assert 0 < row.value.low <= row.value.median <= row.value.high
        assert bool(row.verdict) == (row.target is not None)


@needs_node
def test_hooked_function_writes_a_line_for_each_call(tmp_path: Path) -> None:
    """A hook that is off would have the figures of a plain function."""
    node = shutil.which("node") or ""
    pipe = EventPipe(tmp_path / "spool")
    with calls_server(node, 0) as port:
        for mode, expected in (("plain", 0), ("hooked", 1 + 20)):
            with Caller(node, "http", port, mode, pipe) as caller:
                wall, cpu = caller.run(20)
            assert min(wall, cpu) > 0
            pipe.read()
            assert pipe.lines == expected
    pipe.close()


@pytest.mark.parametrize("measure", [figures_reading.proof, figures_reading.compaction])
def test_figures_of_the_reading_side_have_values(
    run: RunContext, measure: Callable[[RunContext], Iterator[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compared ways have the same result, which the figures assert."""
    monkeypatch.setattr(figures_reading, "OBJECTS", 400)
    rows = list(measure(run))
    assert len(rows) >= 4
    assert all(row.value.low <= row.value.median <= row.value.high and row.value.median > 0 for row in rows)


def test_upload_time_includes_the_service_time(run: RunContext) -> None:
    """The service time of the stand-in is part of the figure, because DONE follows the stored object."""
    with Environment(run.extensions.logferry, run.s3, settings=PER_INVOCATION) as environment:
        environment.invoke()
        warm = environment.invoke()
        before = run.s3.stored
        environment.while_frozen(run.s3.close_connections)
        reconnected = environment.invoke()
        run.s3.wait_for_object(before, RUN_SECONDS)

    for invoked in (warm, reconnected):
        assert invoked.post >= 0.02
        assert invoked.next_after > invoked.post


def test_failing_extension_is_reported_with_its_output(run: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extension that cannot start ends the run with its output instead of a number."""
    failing = Environment(Extension("failing", ["/bin/sh", "-c", "echo no such setting"]), run.s3)
    monkeypatch.setattr("benchmark.environment.NEXT_SECONDS", 0.5)

    with pytest.raises(StepTimeout, match=r"failing: .*no such setting"):
        failing.__enter__()


def test_variables_of_the_caller_are_not_inherited(run: RunContext) -> None:
    """PYTHONDONTWRITEBYTECODE or SSL_CERT_FILE of the caller would change the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.setenv("SSL_CERT_FILE", "/nowhere")
        with Environment(run.extensions.logferry, run.s3) as environment:
            environ = Path(f"/proc/{environment.group}/environ").read_bytes()

    assert b"AWS_LAMBDA_RUNTIME_API=" in environ
    assert b"PYTHONDONTWRITEBYTECODE" not in environ
    assert b"SSL_CERT_FILE" not in environ


@pytest.mark.skipif(bool(why_impossible()), reason=str(why_impossible()))
def test_quota_slows_the_function_and_is_removed(run: RunContext) -> None:
    """At a share of 7 % the same work takes several times as long; afterwards the control group is removed."""
    work = run.worker.work(30)  # the kernel checks every few milliseconds, so shorter work may end before
    unhindered = []
    for _ in range(5):  # the load of others only increases it
        work.begin()
        unhindered.append(work.finish())
    free = min(unhindered)
    with Quota(SHARE_AT_128_MB) as quota:
        quota.add(run.worker.pid)
        quota.impose()
        work.begin()
        limited = work.finish()
        procs_file = quota.procs_file

    assert limited > 3 * free
    assert not procs_file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
def test_baseline_namespace_mounts_the_tree_only_for_its_processes(tmp_path: Path) -> None:
    """A process that is started in the namespace finds the tree at /opt; others do not."""
    (tmp_path / "only-in-the-baseline").touch()
    seen = ["test", "-e", "/opt/only-in-the-baseline"]

    try:
        with MountNamespace(tmp_path) as namespace:
            with namespace.entered():
                inside = subprocess.run(seen, check=False).returncode
            outside = subprocess.run(seen, check=False).returncode
    except OSError as error:
        pytest.skip(f"no mount namespace can be created here: {error}")

    assert (inside, outside) == (0, 1)
    assert Path.cwd().exists()


@pytest.mark.skipif(bool(why_impossible()), reason=str(why_impossible()))
def test_single_invocation_counts_the_lines_that_are_not_stored(run: RunContext, tmp_path: Path) -> None:
    """At one core the environment of one invocation stores its lines; without S3 all of them count as lost."""
    kept = tmp_path / "kept"
    kept.mkdir()
    run.s3.keep(kept)
    without_s3 = Extension(
        "without S3", run.extensions.logferry.command, {"AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9"}
    )

    stored = live_once(run.extensions.logferry, run.s3, 1.0)
    lost = live_once(without_s3, run.s3, 1.0, timeout_seconds=1.0)
    run.s3.keep(None)

    text = stored_text(kept)
    assert len(stored) == len(lost) == LINES
    assert all(line in text for line in stored)
    assert not any(line in text for line in lost)


def test_ratio_is_the_quotient_of_medians_with_the_spread_of_rounds() -> None:
    """A ratio is that of the medians, and its spread that of the quotients of the rounds."""
    assert spread([3, 1, 2]) == Spread(2, 1.2, 2.8)
    assert ratio([2, 4, 6], [1, 2, 2]).median == 2
    assert ratio([2, 4, 6], [1, 2, 2]).high == pytest.approx(2.8)
    assert [Row("", Spread(v, v, v), "x", Target(at_most=1)).verdict for v in (1, 1.1)] == ["met", "not met"]
    assert Row("", Spread(1, 1, 1), "x", Target(at_least=2)).verdict == "not met"


def test_numbered_batches_differ() -> None:
    """Generated batches must not be equal, because a repeated batch is stored once."""
    body = log_lines.delivery(log_lines.Lines().records(3, "id"))

    first, second = log_lines.numbered(body, 1), log_lines.numbered(body, 2)

    assert first != second
    assert json.loads(first)[1:] == json.loads(second)[1:] == json.loads(body)


def test_batches_are_split_as_the_platform_splits_them() -> None:
    """The record that exceeds 256 KiB is the last one of a batch, and no record is lost."""
    records = log_lines.Lines().records(2_500, "id")

    bodies = log_lines.deliveries(records)

    assert [record for body in bodies for record in json.loads(body)] == records
    assert all(log_lines.DELIVERY_BYTES <= len(body) < log_lines.DELIVERY_BYTES + 400 for body in bodies[:-1])


def test_command_prints_the_table_and_writes_it_as_markdown(tmp_path: Path) -> None:
    """The documented command works, here with its fastest figure."""
    written = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmark", "--only", "nothing-due", "--rounds", "1", "--markdown", str(written)]

    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env={"PATH": os.environ["PATH"]}, timeout=RUN_SECONDS,
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "figure" in done.stdout
    row = next(line for line in written.read_text().splitlines() if line.startswith("| added without a flush"))
    assert row.count("|") == 7
    assert "| ≤ 1 ms |" in row


def test_every_figure_has_a_name_and_a_docstring() -> None:
    """`--only` lists the names, and the docstring explains the figure."""
    assert all(measure.__doc__ for measure in FIGURES.values())
    assert "| figure |" in markdown([], "heading")
