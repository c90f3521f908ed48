"""The page as text: its policy, its data, its colors, and its files in the package."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import logferry.cli.report
from logferry.cli.report.page import SCRIPTS, json_in_html, page

ROOT = Path(__file__).parents[3]
FILES = Path(logferry.cli.report.__file__).with_name("page")
MODEL = {"subject": {"destination": 's3://b/<"&'}, "text": "</script><!--", "more": "@@STYLE@@"}
LEAST_CONTRAST = 4.5
"""Contrast of text with its background (WCAG 2, level AA)."""
MARK_CONTRAST = 3.0
"""Contrast of graphical objects (WCAG 2.1, level AA)."""


def between(text: str, start: str, end: str) -> str:
    """Return the text between two others, each of which occurs once after the other."""
    return text.partition(start)[2].partition(end)[0]


def test_policy_allows_its_own_style_and_script_only() -> None:
    """The hashes are those of the elements, and everything else is forbidden."""
    text = page(MODEL)
    policy = dict(part.split(" ", 1) for part in between(text, 'Policy" content="', '">').split("; "))
    assert policy["default-src"] == "'none'"
    for name, content in {
        "style-src": between(text, "<style>", "</style>"),
        "script-src": text.rpartition("<script>")[2].partition("</script>")[0],
    }.items():
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert policy["trusted-types"] == policy["base-uri"] == policy["form-action"] == "'none'"


def test_page_names_no_address() -> None:
    """No file of the page refers to another one, except for the name of SVG's elements."""
    text = page({"subject": {"destination": "x"}})
    assert set(re.findall(r"\w+://[^\s\"']*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"(?:\bsrc|\bhref)=\"(?!#)", text)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|fetch\(|XMLHttp|localStorage", text
    )


def test_data_cannot_end_its_element() -> None:
    """The text of the data has no markup, and is the same data. A placeholder in it is not replaced."""
    text = page(MODEL)
    data = between(text, '<script type="application/json" id="model">', "</script>")
    assert "<" not in data
    assert json.loads(data) == MODEL
    assert "<title>logferry report: s3://b/&lt;&quot;&amp;</title>" in text
    assert text.count("<script") == text.count("</script>") == 2


def test_data_has_no_value_outside_of_json() -> None:
    """A number that is not finite would make the page empty, so it is an error here."""
    with pytest.raises(ValueError, match="JSON"):
        json_in_html({"value": float("nan")})


def test_every_script_is_a_part_of_the_page() -> None:
    """A file that is not listed would not be in the page."""
    assert sorted(SCRIPTS) == sorted(path.name for path in FILES.glob("*.js"))


def test_package_contains_the_files_of_the_page(tmp_path: Path) -> None:
    """An installed package has the template, the style, the scripts and the SQL."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    folder = FILES.parent
    needed = [*FILES.iterdir(), *folder.glob("*.sql")]
    assert len(needed) > 10
    missing = {f"logferry/cli/report/{path.relative_to(folder)}" for path in needed} - set(names)
    assert not missing


def luminance(color: str) -> float:
    """Return the relative luminance of a color (WCAG 2)."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors."""
    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colors_have_contrast_in_both_themes(mode: int) -> None:
    """Text is legible on the page and on raised parts, and marks are visible on the page."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", (FILES / "report.css").read_text())
    colors = {name: values[mode] for name, *values in pairs}
    for name in ("text", "muted", "accent", "fail", "good"):
        assert contrast(colors[name], colors["page"]) >= LEAST_CONTRAST, name
        assert contrast(colors[name], colors["raised"]) >= LEAST_CONTRAST, name
    for name in ("invoke", "cold", "fail", "stored"):
        assert contrast(colors[name], colors["page"]) >= MARK_CONTRAST, name
