"""The README and config/ say what the code says: each setting in one table, and the lines that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

from logferry.settings import PREFIX, SETTINGS
from logferry.values import DEFAULT_PORT, DEFAULT_SPOOL_DIR

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_has_each_setting_as_the_table_in_the_code_has_it() -> None:
    """Name, default, values and meaning, in the same order, and no other."""
    rows = re.findall(r"^\| `(LOGFERRY_\w+)` \| (.+?) \| (.+) \| (.+) \|$", README, flags=re.MULTILINE)
    expected = [(PREFIX + s.name, f"`{s.default}`" if s.default else "none", s.range, s.meaning) for s in SETTINGS]
    assert rows == expected


def test_the_example_of_the_environment_names_every_setting() -> None:
    """config/example.env: what a user copies and edits."""
    named = set(re.findall(r"^#? ?(LOGFERRY_\w+)=", (ROOT / "config" / "example.env").read_text(), flags=re.MULTILINE))
    assert named == {PREFIX + s.name for s in SETTINGS}


def test_every_setting_that_the_readme_mentions_exists() -> None:
    """A name that nobody reads would be a promise that nobody keeps."""
    assert set(re.findall(r"LOGFERRY_\w+", README)) <= {PREFIX + s.name for s in SETTINGS}


def test_the_supervisor_and_the_table_agree_on_the_defaults_they_both_need() -> None:
    """The supervisor may not import the table: it would cost the cold start."""
    defaults = {s.name: s.default for s in SETTINGS}
    assert (str(DEFAULT_PORT), DEFAULT_SPOOL_DIR) == (defaults["PORT"], defaults["SPOOL_DIR"])


def test_ci_runs_the_readmes_line_for_the_tests() -> None:
    """One line each for the demo and the tests, and CI takes the latter from here."""
    lines = re.findall(r"^\$ (python3 -m venv .*)$", README, flags=re.MULTILINE)
    assert len([line for line in lines if line.endswith("-m pytest")]) == 1
    assert len([line for line in lines if line.endswith("logferry demo")]) == 1


def test_what_is_named_in_the_readme_is_there() -> None:
    """Files and folders that a reader is sent to."""
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
