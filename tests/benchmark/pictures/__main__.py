"""The command: `cd tests && ../.venv/bin/python -m benchmark.pictures --measure --draw`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.pictures import FOLDER, comparison, cost, overview, timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TESTS = FOLDER.parents[1]
LINES, MEMORY_MB = 10, 512
INVOCATIONS_PER_DAY = (*(number * 10**power for power in range(3, 7) for number in (1, 2, 5)), 10**7)
DRAWN: Mapping[str, Callable[[Any], str]] = {
    "timeline": timeline.draw,
    "comparison": comparison.draw,
    "cost": cost.draw,
}
"""Pictures with data, and how to draw each."""


def main() -> None:
    """Parse the command line, then measure and draw."""
    options = _options()
    if options.measure is not None:
        for name in options.measure or DRAWN:
            data = _measured(name, options)
            (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")
            print(f"measured {name}")
    if options.draw:
        for file, svg in pictures().items():
            (FOLDER / file).write_text(svg)
            print(f"drew {file}")
    if options.photograph:
        from benchmark.pictures.report import photograph  # noqa: PLC0415 - needs a browser

        photograph(FOLDER / "report.png")
        print("photographed report.png")


def pictures() -> dict[str, str]:
    """Return every picture, by its file name."""
    drawn = {f"{name}.svg": draw(json.loads((FOLDER / f"{name}.json").read_text())) for name, draw in DRAWN.items()}
    return {"overview.svg": overview.draw()} | drawn


def cost_point(invocations_per_day: int) -> dict[str, Any]:
    """Return the monthly cost of each policy and destination at a number of invocations per day."""
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", "cost", "--json"]
    command += ["--lines", str(LINES), "--memory", str(MEMORY_MB), "--timing", "post-execution"]
    command += ["--invocations-per-day", str(invocations_per_day)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    costs = {one["name"]: round(one["usd"]["total"], 5) for one in json.loads(done.stdout)["costs"]}
    return {"invocations_per_day": invocations_per_day, "usd": costs}


def _measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    # Three cases: 1. a run in the emulator, 2. the benchmark's table, 3. the cost model.
    if name == "timeline":
        from benchmark.pictures.timeline_run import measure  # noqa: PLC0415 - needs the emulator

        return measure()
    if name == "comparison":
        return comparison.from_table(options.table.read_text() if options.table else _benchmark(options.benchmark))
    return {"lines": LINES, "memory_mb": MEMORY_MB, "points": [cost_point(number) for number in INVOCATIONS_PER_DAY]}


def _benchmark(arguments: list[str]) -> str:
    """Run the figures of the benchmark that the picture needs, and return the table."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        table = Path(folder) / "table.md"
        only = [argument for figure in comparison.FIGURES for argument in ("--only", figure)]
        command = [sys.executable, "-m", "benchmark", *only, "--markdown", str(table), *arguments]
        subprocess.run(command, check=True, cwd=TESTS)
        return table.read_text()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmark.pictures", description="Make the README's pictures.")
    parser.add_argument("--measure", nargs="*", choices=DRAWN, metavar="NAME", help=f"all, or {', '.join(DRAWN)}")
    parser.add_argument("--draw", action="store_true", help="draw all pictures from the data")
    parser.add_argument("--photograph", action="store_true", help="make the picture of the report; needs chromium")
    parser.add_argument("--table", type=Path, help="a table of `python -m benchmark --markdown`, instead of a run")
    parser.add_argument(
        "--benchmark", action="append", default=[], metavar="ARGUMENT",
        help="argument for the benchmark, such as --benchmark=--rounds=3; repeatable",
    )  # fmt: skip
    options = parser.parse_args()
    if options.measure is None and not options.draw and not options.photograph:
        parser.error("use --measure, --draw, --photograph, or several of them")
    return options


if __name__ == "__main__":
    main()
