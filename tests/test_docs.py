"""README and config/ agree with the code: settings, defaults, commands, and paths."""

from __future__ import annotations

import re
from pathlib import Path

from logferry.settings import PREFIX
from support.settings_tables import ALL_SETTINGS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_has_the_rows_of_the_settings_table() -> None:
    """Name, default, values and meaning are equal, in the same order, without other rows."""
    rows = re.findall(r"^\| `LOGFERRY_\w+` \| .+ \|$", README, flags=re.MULTILINE)
    expected = [
        f"| `{PREFIX}{s.name}` | {f'`{s.default}`' if s.default else 'none'} | {s.range} | {s.meaning} |"
        for s in ALL_SETTINGS
    ]
    assert rows == expected, "the README needs these rows:\n" + "\n".join(expected)


def test_the_example_of_the_environment_has_every_setting() -> None:
    """config/example.env is the file that users copy and edit."""
    named = set(re.findall(r"^#? ?(LOGFERRY_\w+)=", (ROOT / "config" / "example.env").read_text(), flags=re.MULTILINE))
    assert named == {PREFIX + s.name for s in ALL_SETTINGS}


def test_every_setting_in_the_readme_exists() -> None:
    """A variable that is not a setting is a mistake, and the extension would be idle."""
    assert set(re.findall(r"LOGFERRY_\w+", README)) <= {PREFIX + s.name for s in ALL_SETTINGS}


def test_the_readme_has_the_commands_of_the_demo_and_of_the_tests() -> None:
    """`.ci/run` takes the commands of the tests from the block after the marker."""
    blocks = re.findall(
        r"(<!-- ci: test -->\s+)?^```\n(python3 -m venv .*?)^```", README, flags=re.MULTILINE | re.DOTALL
    )
    assert [block.splitlines()[-1] for marker, block in blocks if marker] == [".venv/bin/python -m pytest"]
    assert [block for _, block in blocks if block.endswith("/logferry demo\n")]


def test_every_path_that_the_readme_links_to_exists() -> None:
    """The links are relative to the repository."""
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
