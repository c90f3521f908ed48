"""Pictures of the README: they are those of the checked-in data, accessible, and readable in both modes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmark.pictures import FOLDER, comparison, cost
from benchmark.pictures.__main__ import cost_point, pictures
from benchmark.pictures.svg import COLORS
from benchmark.pictures.timeline_run import CASES

README = (Path(__file__).parents[1] / "README.md").read_text()
SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("overview.svg", "timeline.svg", "comparison.svg", "cost.svg")
LEAST_CONTRAST = 4.5
"""Contrast of text with its background (WCAG 2, level AA)."""
TABLE = """checkout

| figure | median | p10-p90 | target |  | computed from |
|---|---|---|---|---|---|
| exec to first /event/next, / bare interpreter | 1.02 x | 1-1.1 | ≤ 1.1 x | met | logferry 9.5 (9-10) ms, bare 9.3 ms |
| naive to first /event/next, / logferry | 44 x | 40-45 | ≥ 25 x | met | naive 418 (400-450) ms |
| CPU of the process group until the first object is stored, / naive | 0.2 x |  |  |  | logferry 80 ms, naive 400 ms |
| memory after the first upload (PSS of the process group), / naive | 0.4 x | | | | logferry 20.5 (2) MB, naive 50 MB |
| added by one object, S3 at 20 ms, kept connection | 22.1 ms | 22-23 | ≤ 22.5 ms | met | naive 25.2 (25-26) ms |
"""


def data(name: str) -> Any:
    """Return the data of a picture."""
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_drawn_from_the_data(name: str) -> None:
    """`python -m benchmark.pictures --draw` in tests/ writes the pictures again."""
    assert (FOLDER / name).read_text() == pictures()[name]


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_in_the_readme_with_an_alternative_text(name: str) -> None:
    """A reader without images gets the content as text."""
    found = re.search(rf"!\[([^\]]+)\]\(tests/benchmark/pictures/{re.escape(name)}\)", README)
    assert found
    assert len(found[1]) > len(name)


@pytest.mark.parametrize("name", NAMES)
def test_picture_has_title_description_and_text(name: str) -> None:
    """A screen reader gets title and description, and no text is a path or an image."""
    root = ET.fromstring((FOLDER / name).read_text())  # noqa: S314 - our own file
    assert root.attrib["role"] == "img"
    for element in ("title", "desc"):
        found = root.find(SVG + element)
        assert found is not None
        assert found.text
        assert found.attrib["id"] in root.attrib["aria-labelledby"].split()
    assert root.findall(f"{SVG}text")
    assert not [one.tag for one in root.iter() if one.tag in {f"{SVG}image", f"{SVG}path", f"{SVG}script"}]


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_inside_its_frame(name: str) -> None:
    """Rectangles and the beginning of each text are inside the view box."""
    root = ET.fromstring((FOLDER / name).read_text())  # noqa: S314 - our own file
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in root.findall(f"{SVG}rect"):
        assert 0 <= float(box.attrib["x"]) <= float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert 0 <= float(box.attrib["y"]) <= float(box.attrib["y"]) + float(box.attrib["height"]) <= height
    for text in root.findall(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= width
        assert 0 <= float(text.attrib["y"]) <= height


def luminance(color: str) -> float:
    """Return the relative luminance of a color (WCAG 2)."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("color", ["text", "muted", *cost.COLORS.values()])
def test_text_has_contrast_in_both_modes(color: str, mode: int) -> None:
    """Every color of text is legible on the background of its mode."""
    lighter, darker = sorted([luminance(COLORS[color][mode]), luminance(COLORS["background"][mode])], reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= LEAST_CONTRAST


def test_time_line_has_the_upload_at_the_time_of_each_case() -> None:
    """The measured run shows the rule of each flush case."""
    cases = data("timeline")["cases"]
    assert list(cases) == list(CASES)
    assert cases["nothing due"]["uploads"] == []
    first, second = cases["post-execution"]["invocations"]
    for invocation, (start, end) in zip((first, second), cases["post-execution"]["uploads"], strict=True):
        assert invocation["runtime_done"] <= start <= end <= invocation["end"]
    for invocation, (start, end) in zip(
        cases["next-invocation"]["invocations"], cases["next-invocation"]["uploads"], strict=True
    ):
        assert invocation["invoke"] <= start <= end <= invocation["runtime_done"]


def test_comparison_is_read_from_the_table_of_the_benchmark() -> None:
    """A value is in the column `computed from`, or it is the median."""
    found = comparison.from_table(TABLE)
    assert found["heading"] == "checkout"
    values = [(one["logferry"], one["naive"], one["unit"]) for one in found["figures"]]
    assert values == [(9.5, 418, "ms"), (80, 400, "ms"), (20.5, 50, "MB"), (22.1, 25.2, "ms")]


def test_comparison_without_a_row_names_it() -> None:
    """A figure that was not measured is an error, not a bar of zero."""
    with pytest.raises(ValueError, match="memory after the first upload"):
        comparison.from_table("\n".join(row for row in TABLE.splitlines() if "memory" not in row))


@pytest.mark.parametrize("place", [0, -1])
def test_cost_is_that_of_the_command(place: int) -> None:
    """After a change of the cost model: `python -m benchmark.pictures --measure cost --draw` in tests/."""
    point = data("cost")["points"][place]
    assert cost_point(point["invocations_per_day"]) == point


def test_picture_of_the_report_is_small_and_in_the_readme() -> None:
    """`python -m benchmark.pictures --photograph` in tests/ makes it again. The README is read on slow networks too."""
    picture = (FOLDER / "report.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) < 200_000
    assert int.from_bytes(picture[16:20], "big") == 1160
    found = re.search(r"!\[([^\]]+)\]\(tests/benchmark/pictures/report\.png\)", README)
    assert found
    assert len(found[1]) > 40
