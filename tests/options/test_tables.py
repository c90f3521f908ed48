"""The tables of the optional settings: their names, and the imports that they do not cause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import logferry
from logferry.errors import SettingsError
from logferry.options import MODULE_OF, tables
from logferry.settings import Settings

SOURCE = Path(logferry.__file__).parents[1]
DESTINATION = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs", "AWS_REGION": "eu-central-1"}


def test_the_index_names_exactly_the_settings_of_the_tables() -> None:
    """A name that is missing in the index would be reported as a mistake."""
    names = {row.name: module for module, table in tables(MODULE_OF).items() for row in table.SETTINGS}
    assert names == MODULE_OF


@pytest.mark.parametrize("further", [{}, {"LOGFERRY_EVENTS": ""}, {"LOGFERRY_FLUSH": "time"}])
def test_no_table_is_imported_without_one_of_its_variables(further: dict[str, str]) -> None:
    """A feature that is off costs a start nothing."""
    look = (
        f"import sys; sys.path.append({str(SOURCE)!r})\n"
        "from logferry.settings import Settings\n"
        f"Settings.from_environ({DESTINATION | further!r})\n"
        "print(*(name for name in sys.modules if name.startswith('logferry.options.')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == ""


def test_a_variable_that_is_set_gives_the_options_of_its_table() -> None:
    """The other values of the table have their defaults."""
    settings = Settings.from_environ(DESTINATION | {"LOGFERRY_CALLS": "each"})
    assert settings.instrumentation is not None
    assert settings.instrumentation.events, "calls need the intake of events"
    assert settings.instrumentation.events_limit == 1000
    assert Settings.from_environ(DESTINATION).instrumentation is None


def test_mistakes_of_both_tables_are_reported_together() -> None:
    """A user who corrects one must not find the next one afterwards."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(
            DESTINATION | {"LOGFERRY_FLUSH": "often", "LOGFERRY_CALLS": "all", "LOGFERRY_USAGES": "true"}
        )
    assert len(raised.value.mistakes) == 3
    assert any("use LOGFERRY_USAGE" in mistake for mistake in raised.value.mistakes)


@pytest.mark.parametrize("value", ["0", "0.1", "60"])
def test_the_interval_of_samples_is_zero_or_within_its_range(value: str) -> None:
    """Zero switches the samples off."""
    settings = Settings.from_environ(DESTINATION | {"LOGFERRY_USAGE": "true", "LOGFERRY_USAGE_SECONDS": value})
    assert settings.instrumentation is not None
    assert settings.instrumentation.usage_seconds == float(value)
    with pytest.raises(SettingsError, match=r"0\.1 to 60"):
        Settings.from_environ(DESTINATION | {"LOGFERRY_USAGE": "true", "LOGFERRY_USAGE_SECONDS": "0.05"})


def test_samples_without_usage_are_a_mistake() -> None:
    """The samples would go nowhere."""
    with pytest.raises(SettingsError, match="set LOGFERRY_USAGE=true"):
        Settings.from_environ(DESTINATION | {"LOGFERRY_USAGE_SECONDS": "5"})
    with pytest.raises(SettingsError, match="LOGFERRY_USAGE_COMPLETE_SECONDS has no effect without usage"):
        Settings.from_environ(DESTINATION | {"LOGFERRY_USAGE_COMPLETE_SECONDS": "0"})
