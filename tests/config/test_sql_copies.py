"""The statements in config/ are copies of those of the package, and the texts for Athena are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from logferry.cli.sql import statement

CONFIG = Path(__file__).parents[2] / "config"


def without_comments(path: Path) -> str:
    """Return the text of a file without its comments."""
    return re.sub(r"(?m)^--.*\n", "", path.read_text()).strip()


def squeezed(text: str) -> str:
    """Return a text with single spaces."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", ["segments", "faults", "compacted"])
def test_files_of_the_spark_job_are_copies(name: str) -> None:
    """The job needs no installation of logferry."""
    assert without_comments(CONFIG / "spark" / f"{name}.sql") == statement(name, "spark")


def test_athena_merge_adds_every_column_of_the_view_once() -> None:
    """A second run adds nothing, because the place of a line is the condition."""
    create, merge, _ = without_comments(CONFIG / "tables" / "athena-merge.sql").split(";")
    columns = re.findall(r"^    `(\w+)` \w+", create, re.MULTILINE)
    typed = re.findall(r" AS (\w+)(?:,|\n)", statement("compacted", "athena"))
    assert set(typed) <= set(columns)
    (parsed,) = sqlglot.parse(merge, dialect="trino")
    assert isinstance(parsed, exp.Merge)
    source = parsed.args["using"].this
    assert [each.alias_or_name for each in source.expressions] == columns
    (inserted,) = re.findall(r"INSERT \( (.+?) \) VALUES \( (.+?) \)", squeezed(merge))
    names = [[each.strip('" ').removeprefix("s.").strip('"') for each in part.split(",")] for part in inserted]
    assert names == [columns, columns]
    condition = squeezed(merge.partition("\nON ")[2])
    assert all(f"t.{name} = s.{name}" in condition for name in ("environment", "segment", "line", "dt"))
