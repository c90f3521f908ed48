"""Check of the settings: all mistakes at once, or what they switch on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry import options
from logferry.cli.check.result import Step
from logferry.cli.console import counted
from logferry.errors import SettingsError
from logferry.settings import PREFIX, SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.cli.check.settings_source import SettingsSource

NAME = "settings"
_ALWAYS_SHOWN = {"DESTINATION", "FLUSH", "COMPRESSION"}


def check_settings(source: SettingsSource) -> tuple[Step, Settings | None]:
    """Return the step, and the settings if they are valid."""
    try:
        settings = Settings.from_environ(source.environ)
    except SettingsError as error:
        return (
            Step(
                NAME,
                "failed",
                f"{counted(len(error.mistakes), 'mistake')}: logferry would be idle",
                notes=(*error.mistakes, *source.warnings),
                remedy="correct the settings; the other checks need valid ones",
            ),
            None,
        )
    detail = f"valid; flush {settings.policy.flush.value}, compression {settings.compression}"
    if names := changed(source.environ):
        detail += f"; set: {', '.join(names)}"
    if not _is_enabled(source.environ):
        remedy = f"remove {PREFIX}ENABLED=false"
        return Step(
            NAME, "warning", "valid, but logferry is disabled and stores nothing", source.warnings, remedy
        ), settings
    return Step(NAME, "warning" if source.warnings else "ok", detail, notes=source.warnings), settings


def changed(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the settings that differ from their defaults, in the order of the tables."""
    texts = {name.removeprefix(PREFIX): text.strip() for name, text in environ.items() if name.startswith(PREFIX)}
    rows = [*SETTINGS, *(row for table in options.tables(texts).values() for row in table.SETTINGS)]
    return [
        row.name
        for row in rows
        if row.name not in _ALWAYS_SHOWN and texts.get(row.name) and texts[row.name] != row.default
    ]


def _is_enabled(environ: Mapping[str, str]) -> bool:
    """Return the value of LOGFERRY_ENABLED, which the supervisor reads and which is valid here."""
    from logferry import values  # noqa: PLC0415 - only for this value

    return values.parse_truth(environ.get(f"{PREFIX}ENABLED", "").strip() or "true")
