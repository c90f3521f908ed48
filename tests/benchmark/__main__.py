"""The command: `cd tests && ../.venv/bin/python -m benchmark`. Prints the table of all figures."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark import (
    figures_cold_start,
    figures_events,
    figures_invocation,
    figures_node_calls,
    figures_python_calls,
    figures_reading,
    figures_records,
    figures_single_invocation,
    figures_small_function,
    figures_throughput,
    figures_usage,
    table,
)
from benchmark.cpu_worker import CpuWorker
from benchmark.extensions import extensions
from benchmark.mount_namespace import MountNamespace
from benchmark.run_context import RunContext
from benchmark.s3 import S3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.statistic import Row

FIGURES: dict[str, Callable[[RunContext], Iterator[Row]]] = {
    "start": figures_cold_start.start,
    "startup-cost": figures_cold_start.startup_cost,
    "endpoint-by-name": figures_cold_start.endpoint_by_name,
    "responses-during-startup": figures_cold_start.responses_during_startup,
    "shared-core-init": figures_cold_start.shared_core_init,
    "first-invocation": figures_small_function.first_invocation,
    "single-invocation": figures_single_invocation.single_invocation,
    "cpu-shares": figures_small_function.cpu_shares,
    "upload": figures_invocation.upload,
    "invocation-cpu": figures_invocation.invocation_cpu,
    "lines": figures_invocation.lines,
    "nothing-due": figures_invocation.nothing_due,
    "caller-latency": figures_invocation.caller_latency,
    "shutdown": figures_invocation.shutdown,
    "events": figures_events.events,
    "usage-cpu": figures_usage.usage_cpu,
    "usage-first-invocation": figures_usage.usage_first_invocation,
    "ingest": figures_throughput.ingest,
    "burst": figures_throughput.burst,
    "growth": figures_throughput.growth,
    "policies": figures_throughput.policies,
    "processing": figures_records.processing,
    "python-handler": figures_python_calls.handler,
    "python-call-cpu": figures_python_calls.call_cpu,
    "python-event-cpu": figures_python_calls.event_cpu,
    "python-cold-start": figures_python_calls.cold_start,
    "node-handler": figures_node_calls.handler,
    "node-call-cpu": figures_node_calls.call_cpu,
    "node-cold-start": figures_node_calls.cold_start,
    "proof": figures_reading.proof,
    "compaction": figures_reading.compaction,
    "fetching": figures_reading.fetching,
}
ROUNDS = 9
OPT = Path("/opt")
AT_OPT = 'mount --bind "$0" /opt && exec "$@"'
"""Shell script that mounts a layer at /opt, where Lambda mounts it and for which its interpreter is linked."""


def main() -> None:
    """Parse the command line, measure, and print the table."""
    options = _options()
    if options.layer and options.layer.resolve() != OPT:
        _restart_with_layer_at_opt(options)
    rows = list(_measure(options))
    machine = table.machine(rounds=options.rounds, layer=bool(options.layer))
    table.show(rows, machine)
    if options.markdown:
        options.markdown.write_text(table.markdown(rows, machine))


def _measure(options: argparse.Namespace) -> Iterator[Row]:
    """Run the selected figures, and print each row when it is known."""
    console = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        baseline = stack.enter_context(MountNamespace(options.baseline)) if options.baseline else None
        s3 = stack.enter_context(S3(scratch))
        worker = CpuWorker()
        stack.callback(worker.close)
        status = stack.enter_context(console.status("")) if console.is_terminal else None
        compared = extensions(scratch, layer=bool(options.layer), baseline=baseline)
        for name in options.only or FIGURES:

            def progress(text: str, name: str = name) -> None:
                if status:
                    status.update(f"{name}: {text}")

            run = RunContext(
                extensions=compared, s3=s3, worker=worker, rounds=options.rounds, scratch=scratch, progress=progress
            )
            for row in FIGURES[name](run):
                text = f"{name}: {row.name}: {row.value} {row.unit} {row.verdict}"
                console.print(text, highlight=False, markup=False, soft_wrap=True)
                yield row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmark", description="Measure the cost of logferry.")
    parser.add_argument(
        "--only", action="append", choices=FIGURES, metavar="NAME", help=f"one of {', '.join(FIGURES)}; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each figure (default %(default)s)")
    parser.add_argument(
        "--layer", type=_layer_tree, help="a built layer tree (the folder of /opt); default: the checkout"
    )
    parser.add_argument(
        "--baseline", type=_layer_tree, help="the layer tree of an earlier commit, measured in the same run"
    )
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.baseline and not options.layer:
        parser.error("--baseline needs --layer: a layer and a checkout run on different interpreters")
    if (options.layer or options.baseline) and os.geteuid() != 0:
        parser.error("--layer and --baseline mount the trees at /opt in private mount namespaces, which needs root")
    return options


def _layer_tree(text: str) -> Path:
    path = Path(text)
    if not (path / "extensions/logferry").is_file():
        raise argparse.ArgumentTypeError(
            f"{text} has no extensions/logferry: pass the opt folder of `logferry layer build`"
        )
    return path.resolve()


def _restart_with_layer_at_opt(options: argparse.Namespace) -> None:
    """Run the same command in a private mount namespace in which the layer is /opt. Does not return."""
    command = [sys.executable, "-m", "benchmark", *sys.argv[1:], "--layer", str(OPT)]
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AT_OPT, str(options.layer)]
    os.execvp(unshare[0], [*unshare, *command])  # noqa: S606 - replaces this process


if __name__ == "__main__":
    main()
