"""Options of `logferry verify`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.cli.verify.window import Window


class Options(NamedTuple):
    """The options of the command. Without a window, everything is verified."""

    window: Window | None = None
    function: str = "*"
    names_only: bool = False
    state: Path | None = None
    fallback: str = ""
    yes: bool = False
    as_json: bool = False
