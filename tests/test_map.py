"""Tests of the map in `src/logferry/README.md`: it shows the real tree and the real import rules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import logferry
from support.import_rules import MAY_IMPORT

SOURCE = Path(logferry.__file__).parent
MAP = (SOURCE / "README.md").read_text()
OPENED_UP = (
    "supervisor",
    "shipper",
    "instrumentation",
    "listener",
    "journal",
    "records",
    "flush",
    "sinks",
    "sinks/firehose",
    "sinks/s3",
    "references",
    "aws",
    "http_client",
)
"""Packages of which the map shows every module."""


def promise(path: Path) -> str:
    """Return the first line of a module's docstring, without a full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.split("\n", 1)[0].rstrip(".")


def tree() -> str:
    """Return the tree as the map must show it."""
    lines: list[str] = []

    def row(depth: int, name: str, path: Path) -> None:
        lines.append(f"{'    ' * depth + name:<32} {promise(path)}".rstrip())

    def package(folder: Path, depth: int) -> None:
        row(depth, f"{folder.name}/", folder / "__init__.py")
        if folder.relative_to(SOURCE).as_posix() in OPENED_UP:
            for path in sorted(folder.glob("*.py")):
                if path.stem != "__init__":
                    row(depth + 1, path.name, path)
            for inner in sorted(p.parent for p in folder.glob("*/__init__.py")):
                package(inner, depth + 1)

    for folder in sorted(path.parent for path in SOURCE.glob("*/__init__.py")):
        package(folder, 0)
    for path in sorted(SOURCE.glob("*.py")):
        if path.stem != "__init__":
            row(0, path.name, path)
    return "\n".join(lines)


def rules() -> str:
    """Return the table of the import rules as the map must show it."""
    rows = [f"| `{name}` | {', '.join(f'`{one}`' for one in sorted(found))} |" for name, found in MAY_IMPORT.items()]
    return "\n".join(["| package | may import |", "|---|---|", *rows])


@pytest.mark.parametrize(
    ("marker", "expected"),
    [("tree", f"```\n{tree()}\n```"), ("rules", rules())],
    ids=["tree", "rules"],
)
def test_map_shows_the_real_source(marker: str, expected: str) -> None:
    """Run this module as a program to update the map."""
    found = re.search(rf"<!-- {marker}: .*? -->\n(.*?)\n\n", MAP, re.DOTALL)
    assert found
    assert found[1] == expected


def test_map_names_only_files_that_exist() -> None:
    """A path in the text of the map leads to a file or a folder, in the package or in the repository."""
    named = set(re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", MAP.split("Where to add what")[1]))
    assert named
    assert not {name for name in named if not any((root / name).exists() for root in (SOURCE, SOURCE.parents[1]))}


if __name__ == "__main__":
    updated = MAP
    for name, text in (("tree", f"```\n{tree()}\n```"), ("rules", rules())):
        before, found, after = re.split(rf"(<!-- {name}: .*? -->\n)", updated)
        updated = before + found + text + "\n\n" + after.split("\n\n", 1)[1]
    (SOURCE / "README.md").write_text(updated)
