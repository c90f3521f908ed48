"""Parsers of the values that the supervisor and the shipper both read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logferry import values
from logferry.errors import SettingsError
from logferry.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

PARSERS: dict[str, Callable[[str], object]] = {
    "ENABLED": values.parse_truth,
    "STRICT": values.parse_truth,
    "PORT": values.parse_port,
    "SPOOL_DIR": values.parse_directory,
    "LOG_LEVEL": values.parse_log_level,
    "TYPES": values.parse_types,
}
"""Parser of each setting that the supervisor reads."""
TEXTS = (
    *("true", "TRUE", "ture", "0", "off", "2", "9513", "80", "9001", "65536", "9" * 5000, "\u0661024"),
    *("/tmp/x", "tmp", "info", "INFO", "warn", "function", "function,platform", "extensions", ","),  # noqa: S108
)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "On"])
def test_truth_accepts_each_word_for_true_in_any_case(text: str) -> None:
    """A word for true is true in the supervisor and in the shipper."""
    assert values.parse_truth(text) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "Off"])
def test_truth_accepts_each_word_for_false_in_any_case(text: str) -> None:
    """A word for false is false in the supervisor and in the shipper."""
    assert values.parse_truth(text) is False


@pytest.mark.parametrize("text", ["", "ture", "fasle", "2", "10", "enabled", "y", "tru\u00e9"])
def test_truth_rejects_any_other_text(text: str) -> None:
    """A misspelled value is neither true nor false, so it cannot switch logferry off silently."""
    with pytest.raises(ValueError, match="use true or false"):
        values.parse_truth(text)


@pytest.mark.parametrize(("text", "port"), [("1024", 1024), ("9513", 9513), ("65535", 65_535), ("02000", 2000)])
def test_port_accepts_whole_numbers_in_range(text: str, port: int) -> None:
    """Unprivileged ports are valid."""
    assert values.parse_port(text) == port


@pytest.mark.parametrize("text", ["", "0", "80", "1023", "65536", "-9513", "9513.0", "9_513", "\u0661024", "9" * 5000])
def test_port_rejects_any_other_text(text: str) -> None:
    """The remedy names the range, also for a number that `int` refuses to convert."""
    with pytest.raises(ValueError, match="use a whole number from 1024 to 65535"):
        values.parse_port(text)


def test_port_rejects_the_port_of_the_runtime_api() -> None:
    """A listener on port 9001 would collide with Lambda's own server."""
    with pytest.raises(ValueError, match="Lambda uses port 9001"):
        values.parse_port("9001")


def test_log_level_accepts_each_level_in_any_case() -> None:
    """The result is the name in lower case."""
    assert [values.parse_log_level(level.upper()) for level in values.LOG_LEVELS] == list(values.LOG_LEVELS)


@pytest.mark.parametrize("text", ["", "warn", "critical", "2"])
def test_log_level_rejects_any_other_text(text: str) -> None:
    """The remedy lists the levels."""
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        values.parse_log_level(text)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("function", {"function"}),
        (" Platform , function,", {"platform", "function"}),
        ("extension,platform,function", {"platform", "function", "extension"}),
    ],
)
def test_types_accept_a_list_of_kinds(text: str, types: set[str]) -> None:
    """Blanks, case and an empty part have no meaning."""
    assert values.parse_types(text) == types


@pytest.mark.parametrize("text", ["", ",", "function;platform", "functions", "no extension"])
def test_types_reject_any_other_text(text: str) -> None:
    """A text that only contains the name of a kind is not a list of kinds."""
    with pytest.raises(ValueError, match="platform, function, extension"):
        values.parse_types(text)


def test_directory_accepts_absolute_paths_only() -> None:
    """The working directory of an extension is not specified."""
    assert values.parse_directory("/mnt/spool") == "/mnt/spool"
    for text in ("", "spool", "./spool", "~/spool"):
        with pytest.raises(ValueError, match="absolute path"):
            values.parse_directory(text)


def test_each_default_is_a_valid_value() -> None:
    """A default passes the parser of its kind."""
    assert values.parse_port(str(values.DEFAULT_PORT)) == values.DEFAULT_PORT
    assert values.parse_directory(values.DEFAULT_SPOOL_DIR) == values.DEFAULT_SPOOL_DIR
    assert values.parse_log_level(values.DEFAULT_LOG_LEVEL) == values.DEFAULT_LOG_LEVEL
    assert values.parse_types(values.DEFAULT_TYPES) == {"platform", "function"}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", PARSERS)
def test_supervisor_and_shipper_accept_the_same_texts(name: str, text: str) -> None:
    """A text is invalid in both processes or in neither."""

    def is_valid_in_the_supervisor() -> bool:
        missing = object()
        environ = {f"LOGFERRY_{name}".encode(): text.encode()}
        return values.setting(environ, name.encode(), PARSERS[name], missing) is not missing

    def is_valid_in_the_shipper() -> bool:
        try:
            Settings.from_environ({"LOGFERRY_DESTINATION": "s3://bucket", f"LOGFERRY_{name}": text})
        except SettingsError as error:
            return f"LOGFERRY_{name}" not in str(error)
        return True

    assert is_valid_in_the_supervisor() == is_valid_in_the_shipper()


@pytest.mark.parametrize("text", [b"", b" \t", b"ture", b"\xff\xfe"])
def test_setting_is_the_default_for_a_missing_empty_or_invalid_text(text: bytes) -> None:
    """The supervisor continues with the default until the shipper has reported the mistake."""
    assert values.setting({b"LOGFERRY_ENABLED": text}, b"ENABLED", values.parse_truth, default=True)
    assert values.setting({}, b"ENABLED", values.parse_truth, default=True)


def test_setting_ignores_white_space_around_a_text() -> None:
    """A trailing line break in a deployment file is no mistake."""
    assert values.setting({b"LOGFERRY_PORT": b" 2000\n"}, b"PORT", values.parse_port, 9513) == 2000
