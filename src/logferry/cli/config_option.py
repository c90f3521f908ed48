"""The option `--config` of commands that use settings of the extension: a configuration file as in LOGFERRY_CONFIG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path


def config_variable(path: Path | None) -> dict[str, str]:
    """Return the variable for a configuration file, whose path is absolute."""
    return {"LOGFERRY_CONFIG": str(path.absolute())} if path else {}


def destination_in(path: Path | None) -> str:
    """Return the destination in a configuration file, or an empty string. The extension reports all mistakes in it."""
    if not path:
        return ""
    from logferry.config_file import ConfigFile  # noqa: PLC0415 - only this option needs the text
    from logferry.settings import REFERENCE_MARKS  # noqa: PLC0415

    found = ConfigFile(str(path.absolute())).texts.get("DESTINATION", "")
    if found.startswith(REFERENCE_MARKS):
        raise typer.BadParameter(
            f"the destination in {path} is the reference {found}: give the destination of this run",
            param_hint="--destination",
        )
    return found
