"""Check of the settings: all mistakes at once, or what they switch on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from logferry import options
from logferry.cli.check.result import Step
from logferry.cli.console import counted
from logferry.config_file import ConfigFile
from logferry.errors import SettingsError
from logferry.settings import PREFIX, Settings
from logferry.settings_table import SETTINGS
from logferry.values import parse_truth

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
                remedy=_remedy(source.environ),
            ),
            None,
        )
    detail = f"valid; flush {settings.policy.flush.value}, compression {settings.compression}"
    texts = _texts(source.environ)
    if names := changed(texts):
        detail += f"; set: {', '.join(names)}"
    if not parse_truth(texts.get("ENABLED") or "true"):
        remedy = f"remove {PREFIX}ENABLED=false"
        return Step(
            NAME, "warning", "valid, but logferry is disabled and stores nothing", source.warnings, remedy
        ), settings
    return Step(NAME, "warning" if source.warnings else "ok", detail, notes=source.warnings), settings


def _remedy(environ: Mapping[str, str]) -> str:
    remedy = "correct the settings; the other checks need valid ones"
    file = environ.get(f"{PREFIX}CONFIG", "").strip()
    if file and not Path(file).exists():
        return f"{remedy}. For a file in the package of the function, give a local copy with --config"
    return remedy


def changed(texts: Mapping[str, str]) -> list[str]:
    """Return the names of the settings that differ from their defaults, in the order of the tables."""
    rows = [*SETTINGS, *(row for table in options.tables(texts).values() for row in table.SETTINGS)]
    return [
        row.name
        for row in rows
        if row.name not in _ALWAYS_SHOWN and texts.get(row.name) and texts[row.name] != row.default
    ]


def _texts(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of all settings by their names without the prefix: of the variables, and of the file."""
    texts = {name.removeprefix(PREFIX): text.strip() for name, text in environ.items() if name.startswith(PREFIX)}
    return ConfigFile(texts["CONFIG"]).under(texts) if texts.get("CONFIG") else texts
