"""Values of options that several commands have: times, ages and regular expressions.

Guarantees: an invalid value ends the command with the option, the value and the remedy.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from logferry.cli.verify.window import Window, parse_age, parse_time

if TYPE_CHECKING:
    from datetime import timedelta


def window_of(since: str | None, until: str | None) -> Window:
    """Return the window of `--since` and `--until`. Raise BadParameter."""
    window = Window(since=_time("--since", since), until=_time("--until", until))
    if window.since and window.until and window.since > window.until:
        raise typer.BadParameter("it is after --until", param_hint="--since")
    return window


def age_of(option: str, text: str) -> timedelta:
    """Return an age such as 2h. Raise BadParameter."""
    try:
        return parse_age(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error


def regex_of(option: str, text: str | None) -> re.Pattern[str] | None:
    """Return a compiled regular expression. Raise BadParameter."""
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"{text!r} is not a regular expression: {error}", param_hint=option) from error


def _time(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_time(text, now=datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error
