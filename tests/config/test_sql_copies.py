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


def test_athena_merge_has_the_shipped_select_and_every_column() -> None:
    """A second run adds nothing, because the place of a line is the condition."""
    create, merge, _ = [*without_comments(CONFIG / "tables" / "athena-merge.sql").split(";")]
    select = statement("compacted", "athena").removesuffix("FROM logs").strip()
    assert squeezed(select) in squeezed(merge)
    columns = re.findall(r"^    `(\w+)` \w+", create, re.MULTILINE)
    (parsed,) = sqlglot.parse(merge, dialect="trino")
    assert isinstance(parsed, exp.Merge)
    (inserted,) = re.findall(r"INSERT \((.+?)\)\s+VALUES \((.+?)\)", squeezed(merge))
    names = [[each.strip('" ').removeprefix("s.").strip('"') for each in part.split(",")] for part in inserted]
    assert names == [columns, columns]
    condition = squeezed(merge.partition("\nON ")[2])
    assert all(f"t.{name} = s.{name}" in condition for name in ("environment", "segment", "line", "dt"))


def test_athena_proof_has_the_shipped_statements() -> None:
    """Statement 1 is stored, and the others read its rows."""
    create, faults, environments, _ = without_comments(CONFIG / "tables" / "athena-proof.sql").split(";")
    assert statement("segments", "athena").replace("FROM logs", "").partition("\nGROUP")[0].strip() in create
    assert 'WHERE "function" = \'' in create, "an injected partition needs a literal value"
    assert faults.strip() == statement("faults", "athena")
    assert environments.strip() == statement("environments", "athena")
