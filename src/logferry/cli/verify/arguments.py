"""Arguments of `logferry verify` without typer, for the common command lines.

Guarantees: an accepted command line has the same meaning as for typer. Every other one is left to
typer, which has the help and the messages.

Design: typer and its libraries take 0.3 s to import. The proof of 10,000 objects takes less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.verify.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logferry.cli.verify.window import Window

_FLAGS = ("--keys", "--yes", "--json")
_VALUES = ("--since", "--until", "--function", "--state", "--fallback")


def plain_arguments(arguments: Sequence[str]) -> tuple[str, Options] | None:
    """Return the destination and the options of a command line, or None if typer has to read it."""
    found: dict[str, str] = {}
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        # Three cases: 1. the destination, 2. an option without a value, 3. one with a value.
        if not argument.startswith("-"):
            name, value = "", argument
        elif argument in _FLAGS:
            value = argument
        elif name in _VALUES:
            value = value if equals else next(waiting, "")
        else:
            return None
        if not value or name in found or (name in _VALUES and value.startswith("-")):
            return None
        found[name] = value
    if not found.get("") or ("--keys" in found and "--state" in found):
        return None
    return _options(found)


def _options(found: dict[str, str]) -> tuple[str, Options] | None:
    """Return the destination and the options of a command line, or None if a value is invalid."""
    window = state = None
    if "--since" in found or "--until" in found:
        window = _window(found.get("--since"), found.get("--until"))
        if window is None:
            return None
    if "--state" in found:
        from pathlib import Path  # noqa: PLC0415 - takes 5 ms to import

        state = Path(found["--state"])
    options = Options(
        window=window,
        function=found.get("--function", "*"),
        names_only="--keys" in found,
        state=state,
        fallback=found.get("--fallback", ""),
        yes="--yes" in found,
        as_json="--json" in found,
    )
    return found[""], options


def _window(since: str | None, until: str | None) -> Window | None:
    from datetime import UTC, datetime  # noqa: PLC0415

    from logferry.cli.verify.window import Window, parse_time  # noqa: PLC0415

    now = datetime.now(UTC)
    try:
        window = Window(
            since=None if since is None else parse_time(since, now=now),
            until=None if until is None else parse_time(until, now=now),
        )
    except (ValueError, OverflowError):
        return None
    return None if window.since and window.until and window.since > window.until else window
