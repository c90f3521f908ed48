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

from benchmark import figures_bulk, figures_small, figures_start, figures_warm, table
from benchmark.burner import Burner
from benchmark.rivals import rivals
from benchmark.s3 import S3
from benchmark.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.statistic import Row

FIGURES: dict[str, Callable[[Workbench], Iterator[Row]]] = {
    "start": figures_start.start,
    "warm-up": figures_start.warm_up,
    "early": figures_start.early_deliveries,
    "shared-core": figures_start.shared_core,
    "128mb": figures_small.small_function,
    "upload": figures_warm.upload,
    "cpu": figures_warm.invocation_cpu,
    "nothing-due": figures_warm.nothing_due,
    "caller": figures_warm.caller,
    "shutdown": figures_warm.shutdown,
    "ingest": figures_bulk.ingest,
    "burst": figures_bulk.burst,
    "flat": figures_bulk.flat,
    "policies": figures_bulk.policies,
}
ROUNDS = 9
AT_OPT = 'mount --bind "$0" /opt && exec "$@"'
"""Lambda mounts layers at /opt, and the layer's interpreter is linked for that path."""


def main() -> None:
    """Parse the command line, measure, print."""
    options = _options()
    if options.layer and options.layer.resolve() != Path("/opt"):
        _again_with_layer_at_opt(options)
    console = Console(stderr=True)
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        s3 = stack.enter_context(S3(scratch))
        burner = Burner()
        stack.callback(burner.close)
        status = stack.enter_context(console.status("")) if console.is_terminal else None
        for name in options.only or FIGURES:

            def say(text: str, name: str = name) -> None:
                if status:
                    status.update(f"{name}: {text}")

            bench = Workbench(
                rivals=rivals(scratch, layer=bool(options.layer)),
                s3=s3, burner=burner, rounds=options.rounds, scratch=scratch, say=say,
            )  # fmt: skip
            for row in FIGURES[name](bench):
                rows.append(row)
                console.print(
                    f"{name}: {row.name}: {row.value} {row.unit} {row.verdict}", highlight=False, markup=False
                )
    machine = table.machine(rounds=options.rounds, layer=bool(options.layer))
    table.show(rows, machine)
    if options.markdown:
        options.markdown.write_text(table.markdown(rows, machine))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmark", description="What logferry costs a function.")
    parser.add_argument(
        "--only", action="append", choices=FIGURES, metavar="NAME", help=f"one of {', '.join(FIGURES)}; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each figure (default %(default)s)")
    parser.add_argument(
        "--layer", type=Path, help="a built layer tree (the folder that is /opt); default: the checkout"
    )
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.layer and not (options.layer / "extensions/logferry").is_file():
        parser.error(f"{options.layer} has no extensions/logferry: give the opt folder of `logferry layer build`")
    return options


def _again_with_layer_at_opt(options: argparse.Namespace) -> None:
    """Run the same command where the layer is /opt, in a mount namespace of its own; needs root. Does not return."""
    if os.geteuid() != 0:
        sys.exit("--layer mounts the tree at /opt in a private namespace, which needs root")
    command = [sys.executable, "-m", "benchmark", *sys.argv[1:], "--layer", "/opt"]
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AT_OPT, str(options.layer.resolve())]
    os.execvp(unshare[0], [*unshare, *command])  # noqa: S606 - replaces this process


if __name__ == "__main__":
    main()
