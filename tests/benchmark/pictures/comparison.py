"""Bars of logferry and of the naive shipper, and the figures for them from the benchmark's table. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.pictures.svg import WIDTH, document, line, rect, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TITLE = "logferry compared with a naive shipper"
LEFT, LONGEST = 250, 430
"""Start of the bars and length of the longest bar of each figure, in pixels."""
TOP, ROW, BAR = 48, 58, 15
TIMES = "\N{MULTIPLICATION SIGN}"


class _Source(NamedTuple):
    """A row of the benchmark's table, and the row and column of each value."""

    label: str
    logferry: str
    naive: str


SOURCES = (
    _Source(
        "start until the first /event/next",
        "exec to first /event/next, / bare interpreter",
        "naive to first /event/next, / logferry",
    ),
    _Source("CPU time until the first object", *(("CPU of the process group until the first object is stored",) * 2)),
    _Source("memory after the first object", *(("memory after the first upload (PSS of the process group)",) * 2)),
    _Source("added by an object, S3 at 20 ms", *(("added by one object, S3 at 20 ms, kept connection",) * 2)),
)
"""Figures of the picture, with the beginning of the rows that have their values."""
FIGURES = ("start", "startup-cost", "upload")
"""Figures of the benchmark that have these rows."""


def from_table(markdown: str) -> dict[str, Any]:
    """Return the data of the picture from the table of `python -m benchmark --markdown`."""
    heading = markdown.strip().split("\n", 1)[0]
    rows = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in markdown.splitlines() if row[:1] == "|"]
    figures = []
    for source in SOURCES:
        logferry, unit = _value(rows, source.logferry, "logferry")
        naive, _ = _value(rows, source.naive, "naive")
        figures.append({"label": source.label, "unit": unit, "logferry": logferry, "naive": naive})
    return {"heading": heading, "figures": figures}


def _value(rows: list[list[str]], name: str, shipper: str) -> tuple[float, str]:
    """Return a value and its unit: from the column `computed from`, else from the column `median`."""
    for row in rows:
        if row[0].startswith(name):
            detail = re.search(rf"\b{shipper} ([\d.]+)(?: \([^)]*\))? (ms|MB)", row[-1])
            median = re.fullmatch(r"([\d.]+) (ms|MB)", row[1])
            if found := detail or median:
                return float(found[1]), found[2]
    raise ValueError(f"the benchmark's table has no value of {shipper} in a row {name!r}")


def draw(data: Mapping[str, Any]) -> str:
    """Return the picture."""
    body = list(_legend())
    for index, figure in enumerate(data["figures"]):
        body += _figure(figure, TOP + index * ROW)
    height = TOP + len(data["figures"]) * ROW + 8
    return document(height=height, title=TITLE, description=_description(data), body=body)


def _figure(figure: Mapping[str, Any], top: float) -> Iterator[str]:
    largest = max(figure["logferry"], figure["naive"])
    yield line(16, top, WIDTH - 16, top)
    yield text(16, top + ROW / 2 + 5, figure["label"])
    for number, (shipper, color) in enumerate((("logferry", "logferry"), ("naive", "function"))):
        y = top + 11 + 20 * number
        length = LONGEST * figure[shipper] / largest
        yield rect(LEFT, y, length, BAR, color=color)
        yield text(LEFT + length + 8, y + 12, f"{_short(figure[shipper])} {figure['unit']}", kind="small")
    ratio = figure["logferry"] / figure["naive"]
    yield text(WIDTH - 20, top + ROW / 2 + 5, f"{ratio:.2f} {TIMES}", kind="strong", anchor="end")


def _legend() -> Iterator[str]:
    for x, color, label in ((LEFT, "logferry", "logferry"), (LEFT + 100, "function", "naive shipper")):
        yield rect(x, 18, 14, 12, color=color)
        yield text(x + 20, 29, label, kind="small")
    yield text(WIDTH - 20, 29, "logferry / naive", kind="small muted", anchor="end")


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _description(data: Mapping[str, Any]) -> str:
    sentences = [
        f"{one['label']}: logferry {_short(one['logferry'])} {one['unit']}, naive {_short(one['naive'])} {one['unit']}."
        for one in data["figures"]
    ]
    return " ".join([*sentences, f"Measured: {data['heading']}."])
