"""Settings: values, defaults, combinations, and the message for each mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logferry import values
from logferry.destination import Destination
from logferry.errors import SettingsError
from logferry.flush.policy import Flush, Thresholds, Timing
from logferry.settings import PREFIX, Settings
from support.settings_tables import ALL_SETTINGS

GOOD = {"LOGFERRY_DESTINATION": "s3://bucket/prefix"}


def read(**given: str) -> Settings:
    """Return the settings of an environment with a destination and with these."""
    return Settings.from_environ(GOOD | {f"LOGFERRY_{name}": value for name, value in given.items()})


def mistakes(**given: str) -> list[str]:
    """Return the mistakes of such an environment."""
    with pytest.raises(SettingsError) as caught:
        read(**given)
    return caught.value.mistakes


def test_only_the_destination_is_required() -> None:
    """All other settings have the defaults of the table."""
    settings = Settings.from_environ({**GOOD, "PATH": "/bin", "AWS_REGION": "eu-west-1"})
    assert settings.destination == Destination("s3", "bucket", "prefix")
    assert (settings.policy.flush, settings.policy.timing) == (Flush.ADAPTIVE, Timing.POST_EXECUTION)
    assert settings.policy.thresholds == Thresholds()
    assert settings.compression == "gzip"
    assert settings.types == {"platform", "function"}
    assert settings.spool_dir == "/tmp/logferry"  # noqa: S108 - the only writable place on Lambda
    assert settings.spool_bytes == 64 * 1024 * 1024
    assert (settings.upload_timeout, settings.log_level, settings.s3_client) == (5.0, "warning", "auto")


@pytest.mark.parametrize("setting", [s for s in ALL_SETTINGS if s.default], ids=lambda s: s.name)
def test_each_default_is_a_valid_value_and_an_empty_value_counts_as_not_set(setting: object) -> None:
    """Copying a row of the README's table into the environment changes nothing."""
    name, default = setting.name, setting.default  # type: ignore[attr-defined]
    destination = {"DESTINATION": "firehose://stream"} if name.startswith("FIREHOSE_") else {}
    assert isinstance(read(**{name: f"  {default} "}, **destination), Settings)
    assert read(**{name: " "}) == read()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DESTINATION", "", "is not set: use s3://bucket/prefix"),
        ("DESTINATION", "bucket", "use s3://bucket/prefix"),
        ("DESTINATION", "s3://", "3 to 255 letters"),
        ("DESTINATION", "s3://b", "3 to 255 letters"),
        ("DESTINATION", "s3://" + 256 * "b", "3 to 255 letters"),
        ("DESTINATION", "s3://büro", "3 to 255 letters"),
        ("DESTINATION", "s3://arn:aws:s3:::bucket/logs", "with the name of the bucket"),
        ("DESTINATION", "https://bucket.s3.amazonaws.com", "use s3://bucket/prefix"),
        ("DESTINATION", "s3://bucket/%Y/%m", "%Y is not replaced: use the fields of LOGFERRY_KEY"),
        ("DESTINATION", "s3://bucket/day=%d", "%d is not replaced"),
        ("DESTINATION", "s3://bucket/{function}/x", "braces are not replaced"),
        ("DESTINATION", "file:///var/%Y", "%Y is not replaced"),
        ("DESTINATION", "s3://bucket/a//b", "cannot address the parts"),
        ("DESTINATION", "s3://bucket/a/../b", "cannot address the parts"),
        ("DESTINATION", "s3://bucket/a\nb", "control character"),
        ("DESTINATION", "file://relative", "file:///directory"),
        ("FLUSH", "invocations", "choose one of invocation, time, size, adaptive"),
        ("FLUSH_INVOCATIONS", "0", "whole number from 1 to 100000"),
        ("FLUSH_INVOCATIONS", "1.5", "whole number from 1 to 100000"),
        ("FLUSH_INVOCATIONS", "-1", "whole number from 1 to 100000"),
        ("FLUSH_SECONDS", "0", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "1m", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "nan", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "inf", "seconds from 0.1 to 86400"),
        ("FLUSH_BYTES", "4MB", "such as 1048576, 1024KiB or 1MiB"),
        ("FLUSH_BYTES", "100", "size from 1KiB to 256MiB"),
        ("FLUSH_BYTES", "1GiB", "size from 1KiB to 256MiB"),
        ("FLUSH_TIMING", "before", "choose one of post-execution, next-invocation"),
        ("KEY", "{segment}", "{environment} must be in it, or objects would overwrite"),
        ("KEY", "x", "{environment}, {segment} must be in it"),
        ("KEY", "{environment}{segment}{hostname}", "unknown {hostname}; known are"),
        ("KEY", "{environment}{segment", "the braces do not match"),
        ("KEY", "{environment}{segment:04d}", "no format"),
        ("KEY", "{environment!r}{segment}", "no format"),
        ("KEY", "{environment.__class__}{segment}", "unknown"),
        ("KEY", "{}{environment}{segment}", "unknown {}"),
        ("COMPRESSION", "zip", "choose one of gzip, zstd, none"),
        ("TYPES", "platform;function", "list one or more of platform, function, extension"),
        ("TYPES", ",", "list one or more of platform, function, extension"),
        ("SPOOL_DIR", "tmp", "absolute path"),
        ("SPOOL_BYTES", "1KiB", "size from 1MiB to 10GiB"),
        ("PORT", "80", "whole number from 1024 to 65535"),
        ("PORT", "9001", "Lambda uses port 9001 itself"),
        ("PORT", "http", "whole number from 1024 to 65535"),
        ("UPLOAD_TIMEOUT", "0", "seconds from 0.1 to 60"),
        ("S3_CLIENT", "boto3", "choose one of auto, sdk"),
        ("LOG_LEVEL", "verbose", "choose one of debug, info, warning, error"),
        ("ENABLED", "maybe", "true or false"),
        ("STRICT", "2", "true or false"),
    ],
)
def test_an_invalid_value_is_reported_once_with_its_remedy(name: str, value: str, remedy: str) -> None:
    """The message has the variable, its value and a valid form."""
    (mistake,) = mistakes(**{name: value})
    assert mistake.startswith(f"LOGFERRY_{name} ")
    assert remedy in mistake
    assert not value or repr(value) in mistake or value in mistake


def test_all_mistakes_are_reported_at_once() -> None:
    """A deployment is fixed in one step."""
    found = mistakes(FLUSH="always", PORT="0", KEY="k", STRICTT="1", TYPES="x", UPLOAD_TIMEOUT="soon")
    assert len(found) == 6
    for name in ("FLUSH", "PORT", "KEY", "STRICTT", "TYPES", "UPLOAD_TIMEOUT"):
        assert any(m.startswith(f"LOGFERRY_{name} ") for m in found)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("DESTINATON", "DESTINATION"),
        ("FLUSH_SECS", "FLUSH_SECONDS"),
        ("SPOOLDIR", "SPOOL_DIR"),
        ("LOGLEVEL", "LOG_LEVEL"),
    ],
)
def test_an_unknown_variable_is_a_mistake_and_a_similar_name_is_the_remedy(wrong: str, meant: str) -> None:
    """A misspelt name would otherwise be ignored silently."""
    assert mistakes(**{wrong: "x"}) == [f"LOGFERRY_{wrong} is not a setting: use LOGFERRY_{meant}"]


def test_an_unknown_variable_without_a_similar_name_is_to_be_removed() -> None:
    """A wrong suggestion would mislead."""
    assert mistakes(QQQQ="x") == ["LOGFERRY_QQQQ is not a setting: remove it"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "²"),
        ("DESTINATION", "s3://[bucket"),
        ("FLUSH_INVOCATIONS", "²"),
        ("FLUSH_BYTES", "٣"),
        ("PORT", 5000 * "9"),
        ("FLUSH_BYTES", 5000 * "9"),
    ],
)
def test_an_odd_value_has_the_remedy_too(name: str, value: str) -> None:
    """Errors of Python's own functions have no remedy and never appear in a message."""
    (mistake,) = mistakes(**{name: value})
    assert ": use " in mistake


@pytest.mark.parametrize(
    ("value", "expected"),
    [("4096", 4096), ("4096B", 4096), ("4KiB", 4096), ("4 kib", 4096), ("2MiB", 2 << 20)],
)
def test_sizes_have_binary_units_or_none(value: str, expected: int) -> None:
    """A size is a number of bytes, KiB, MiB or GiB."""
    assert read(FLUSH_BYTES=value).policy.thresholds.size == expected


def test_only_thresholds_that_are_set_limit_the_other_policies() -> None:
    """A default does not limit other policies. The same value does if it is set."""
    assert read(FLUSH="time").policy.thresholds == Thresholds()
    assert read(FLUSH="time", FLUSH_INVOCATIONS="1").policy.thresholds == Thresholds(invocations=1)
    assert read(FLUSH_SECONDS="2.5").policy.thresholds == Thresholds(seconds=2.5)


@pytest.mark.parametrize(
    ("name", "default", "parse"),
    [
        ("PORT", str(values.DEFAULT_PORT), values.parse_port),
        ("SPOOL_DIR", values.DEFAULT_SPOOL_DIR, None),
        ("TYPES", values.DEFAULT_TYPES, values.parse_types),
        ("LOG_LEVEL", values.DEFAULT_LOG_LEVEL, values.parse_log_level),
        ("ENABLED", "true", values.parse_truth),
        ("STRICT", "false", values.parse_truth),
    ],
)
def test_supervisor_and_shipper_have_one_parser_and_one_default(name: str, default: str, parse: object) -> None:
    """Both processes read these six settings, and two parsers would accept different values."""
    setting = next(s for s in ALL_SETTINGS if s.name == name)
    assert setting.default == default
    assert parse is None or setting.parse is parse


def test_the_default_key_follows_the_compression() -> None:
    """Readers infer the compression from the suffix."""
    assert not read(COMPRESSION="none").key.endswith(".gz")
    assert read().key.endswith(".ndjson.gz")


def test_a_leading_slash_of_the_key_is_removed() -> None:
    """A leading slash would make an empty directory in S3."""
    assert read(KEY="/{environment}/{segment}.gz").key == "{environment}/{segment}.gz"


@pytest.mark.parametrize(
    ("given", "fine"),
    [
        ({"FLUSH": "invocation"}, True),
        ({"FLUSH": "invocation", "FLUSH_INVOCATIONS": "1"}, True),
        ({"FLUSH": "invocation", "FLUSH_INVOCATIONS": "2"}, False),
        ({"FLUSH": "invocation", "FLUSH_SECONDS": "5"}, False),
        ({"FLUSH": "time"}, False),
        ({}, False),
    ],
)
def test_a_request_id_in_the_key_requires_one_object_per_invocation(given: dict[str, str], *, fine: bool) -> None:
    """Otherwise the key has the ID of one invocation of several."""
    key = {"KEY": "{request_id}/{environment}-{segment}.gz"}
    if fine:
        assert isinstance(read(**given, **key), Settings)
    else:
        (mistake,) = mistakes(**given, **key)
        assert "{request_id}" in mistake
        assert "LOGFERRY_FLUSH=invocation" in mistake


@pytest.mark.parametrize(("flush", "spool"), [("256MiB", "1MiB"), ("64MiB", "64MiB")])
def test_a_spool_smaller_than_the_size_threshold_is_a_mistake(flush: str, spool: str) -> None:
    """The size threshold would never be reached, because the spool's limit applies first."""
    assert any("SPOOL_BYTES" in m for m in mistakes(FLUSH="size", FLUSH_BYTES=flush, SPOOL_BYTES=spool))


def test_the_launcher_reads_only_variables_that_are_settings() -> None:
    """The shipper reports any other variable with the prefix as a mistake."""
    extension = Path(__file__).parent.parent / "extension"
    text = "".join(path.read_text() for path in extension.iterdir() if path.is_file())
    names = set(re.findall(r"\b" + PREFIX + r"(\w+)", text))
    assert names <= {s.name for s in ALL_SETTINGS}


def test_the_table_has_each_setting_once_in_capitals() -> None:
    """A name has no prefix, and each row has a meaning and a range."""
    names = [s.name for s in ALL_SETTINGS]
    assert len(set(names)) == len(names)
    assert all(name == name.upper() and PREFIX not in name for name in names)
    assert all(s.meaning and s.range for s in ALL_SETTINGS)
