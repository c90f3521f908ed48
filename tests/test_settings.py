"""The settings: every mistake is named with its remedy, all at once, and a name that is nearly right is recognised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logferry.errors import SettingsError
from logferry.flush.policy import Flush, Thresholds, Timing
from logferry.settings import PREFIX, SETTINGS, Destination, Settings

GOOD = {"LOGFERRY_DESTINATION": "s3://bucket/prefix"}


def read(**given: str) -> Settings:
    """Read settings from an environment that has a destination and these, named without the prefix."""
    return Settings.from_environ(GOOD | {f"LOGFERRY_{name}": value for name, value in given.items()})


def mistakes(**given: str) -> list[str]:
    """Give the mistakes that such an environment has."""
    with pytest.raises(SettingsError) as caught:
        read(**given)
    return caught.value.mistakes


def test_a_destination_is_enough() -> None:
    """Everything else has a default, and the defaults are those of the table."""
    settings = Settings.from_environ({**GOOD, "PATH": "/bin", "AWS_REGION": "eu-west-1"})
    assert settings.destination == Destination("s3", "bucket", "prefix")
    assert (settings.policy.flush, settings.policy.timing) == (Flush.ADAPTIVE, Timing.POST_EXECUTION)
    assert settings.policy.thresholds == Thresholds()
    assert settings.compress
    assert settings.types == {"platform", "function"}
    assert settings.spool_dir == Path("/tmp/logferry")  # noqa: S108 - the only writable place on Lambda
    assert settings.spool_bytes == 64 * 1024 * 1024
    assert (settings.upload_timeout, settings.log_level) == (5.0, "warning")


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.default], ids=lambda s: s.name)
def test_the_default_of_every_setting_can_be_written_out(setting: object) -> None:
    """Who copies the README's table changes nothing; a blank value is as good as none."""
    name, default = setting.name, setting.default  # type: ignore[attr-defined]
    assert isinstance(read(**{name: f"  {default} "}), Settings)
    assert read(**{name: " "}) == read()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DESTINATION", "", "is not set: write s3://bucket/prefix"),
        ("DESTINATION", "bucket", "write s3://bucket/prefix"),
        ("DESTINATION", "s3://", "3 to 63 lower-case"),
        ("DESTINATION", "s3://Bucket", "3 to 63 lower-case"),
        ("DESTINATION", "s3://b", "3 to 63 lower-case"),
        ("DESTINATION", "https://bucket.s3.amazonaws.com", "write s3://bucket/prefix"),
        ("DESTINATION", "file://relative", "file:///directory"),
        ("FLUSH", "invocations", "choose one of invocation, time, size, adaptive"),
        ("FLUSH_INVOCATIONS", "0", "whole number from 1 to 100000"),
        ("FLUSH_INVOCATIONS", "1.5", "whole number from 1 to 100000"),
        ("FLUSH_INVOCATIONS", "-1", "whole number from 1 to 100000"),
        ("FLUSH_SECONDS", "0", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "1m", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "nan", "seconds from 0.1 to 86400"),
        ("FLUSH_SECONDS", "inf", "seconds from 0.1 to 86400"),
        ("FLUSH_BYTES", "4MB", "as 1048576, 1024KiB or 1MiB"),
        ("FLUSH_BYTES", "100", "bytes from 1KiB to 256MiB"),
        ("FLUSH_BYTES", "1GiB", "bytes from 1KiB to 256MiB"),
        ("FLUSH_TIMING", "before", "choose one of post-execution, next-invocation"),
        ("KEY", "{segment}", "{environment} must be in it, or objects would overwrite"),
        ("KEY", "x", "{environment}, {segment} must be in it"),
        ("KEY", "{environment}{segment}{hostname}", "unknown {hostname}; known are"),
        ("KEY", "{environment}{segment", "the braces do not match"),
        ("KEY", "{environment}{segment:04d}", "no format"),
        ("KEY", "{environment!r}{segment}", "no format"),
        ("KEY", "{environment.__class__}{segment}", "unknown"),
        ("KEY", "{}{environment}{segment}", "unknown {}"),
        ("COMPRESSION", "zip", "choose one of gzip, none"),
        ("TYPES", "platform;function", "list one or more of platform, function, extension"),
        ("TYPES", ",", "list one or more of platform, function, extension"),
        ("SPOOL_DIR", "tmp", "absolute path"),
        ("SPOOL_BYTES", "1KiB", "bytes from 1MiB to 10GiB"),
        ("PORT", "80", "whole number from 1024 to 65535"),
        ("PORT", "9001", "Lambda's own"),
        ("PORT", "http", "whole number from 1024 to 65535"),
        ("UPLOAD_TIMEOUT", "0", "seconds from 0.1 to 60"),
        ("LOG_LEVEL", "verbose", "choose one of debug, info, warning, error"),
        ("ENABLED", "maybe", "true or false"),
        ("STRICT", "2", "true or false"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    """One sentence: which variable, what it holds, what to write instead."""
    (mistake,) = mistakes(**{name: value})
    assert mistake.startswith(f"LOGFERRY_{name} ")
    assert remedy in mistake
    assert not value or repr(value) in mistake or value in mistake


def test_all_mistakes_are_found_at_once() -> None:
    """A deployment is not mended one variable at a time."""
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
def test_an_unknown_variable_is_a_mistake_and_the_near_name_is_told(wrong: str, meant: str) -> None:
    """A typing error would otherwise be a setting that silently does nothing."""
    assert mistakes(**{wrong: "x"}) == [f"LOGFERRY_{wrong} is no setting; is LOGFERRY_{meant} meant?"]


def test_a_name_that_is_near_to_nothing_gets_no_advice() -> None:
    """Better none than a wrong one."""
    assert mistakes(QQQQ="x") == ["LOGFERRY_QQQQ is no setting"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("s3://my.bucket-1", Destination("s3", "my.bucket-1", "")),
        ("s3://bucket/", Destination("s3", "bucket", "")),
        ("s3://bucket/a/b/", Destination("s3", "bucket", "a/b")),
        ("s3://bucket/a b/ä=1", Destination("s3", "bucket", "a b/ä=1")),
        ("file:///var/out", Destination("file", "", "/var/out")),
    ],
)
def test_a_destination_is_a_bucket_and_a_prefix_or_a_directory(value: str, expected: Destination) -> None:
    """Slashes at the edges are nobody's business."""
    assert read(DESTINATION=value).destination == expected


@pytest.mark.parametrize("value", ["s3://bucket/a?b", "s3://bucket/a#b"])
def test_a_destination_keeps_its_whole_prefix_or_is_refused(value: str) -> None:
    """Both signs may stand in a key; objects must not land beside where the user said."""
    try:
        found = read(DESTINATION=value).destination.path
    except SettingsError:
        return
    assert found == value.removeprefix("s3://bucket/")


def test_an_access_point_is_taken_whole_or_refused() -> None:
    """The pattern of buckets admits ARNs, so one has to work."""
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/logs"
    try:
        found = read(DESTINATION=f"s3://{arn}/prefix").destination
    except SettingsError:
        return
    assert found == Destination("s3", arn, "prefix")


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "²"), ("DESTINATION", "s3://[bucket"), ("FLUSH_INVOCATIONS", "²")]
)
def test_an_odd_value_gets_the_remedy_too(name: str, value: str) -> None:
    """What Python says about its own functions helps nobody who sets a variable."""
    (mistake,) = mistakes(**{name: value})
    assert any(word in mistake for word in ("give ", "write "))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("4096", 4096), ("4096B", 4096), ("4KiB", 4096), ("4 kib", 4096), ("2MiB", 2 << 20)],
)
def test_sizes_are_bytes_with_a_unit_or_without(value: str, expected: int) -> None:
    """Powers of two, and named so."""
    assert read(FLUSH_BYTES=value).policy.thresholds.size == expected


def test_only_thresholds_that_were_set_cap_the_other_policies() -> None:
    """A default is no wish, the same number written out is one."""
    assert read(FLUSH="time").policy.thresholds == Thresholds()
    assert read(FLUSH="time", FLUSH_INVOCATIONS="1").policy.thresholds == Thresholds(invocations=1)
    assert read(FLUSH_SECONDS="2.5").policy.thresholds == Thresholds(seconds=2.5)


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "On", "false", "0", "no", "off"])
def test_truth_has_its_usual_words(value: str) -> None:
    """The supervisor accepts the same words (tests/test_values.py)."""
    assert isinstance(read(ENABLED=value, STRICT=value), Settings)


def test_without_compression_the_default_key_does_not_say_gz() -> None:
    """A name that lies about its content breaks readers; a key of the user's own is left as it is."""
    assert not read(COMPRESSION="none").key.endswith(".gz")
    assert read().key.endswith(".ndjson.gz")
    own = "{environment}/{segment}.gz"
    assert read(COMPRESSION="none", KEY=own).key == own


def test_a_key_has_no_leading_slash() -> None:
    """S3 would make an empty folder of it."""
    assert read(KEY="/{environment}/{segment}").key == "{environment}/{segment}"


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
def test_a_request_id_in_the_key_needs_one_object_for_each_invocation(given: dict[str, str], *, fine: bool) -> None:
    """Else the key would name one of several, and the others could not be found."""
    key = {"KEY": "{request_id}/{environment}-{segment}"}
    if fine:
        assert isinstance(read(**given, **key), Settings)
    else:
        (mistake,) = mistakes(**given, **key)
        assert "{request_id}" in mistake
        assert "LOGFERRY_FLUSH=invocation" in mistake


@pytest.mark.parametrize(("flush", "spool"), [("256MiB", "1MiB"), ("64MiB", "64MiB")])
def test_a_spool_that_cannot_hold_what_should_wait_is_a_mistake(flush: str, spool: str) -> None:
    """By size it would never be shipped, because the bound of the spool comes first."""
    assert any("SPOOL_BYTES" in m for m in mistakes(FLUSH="size", FLUSH_BYTES=flush, SPOOL_BYTES=spool))


def test_the_launcher_reads_no_variable_that_is_no_setting() -> None:
    """It stands in the same environment: the shipper would call it a mistake, and refuse to work."""
    launcher = Path(__file__).parent.parent / "extension" / "logferry"
    names = set(re.findall(PREFIX + r"(\w+)", launcher.read_text()))
    assert names <= {s.name for s in SETTINGS}


def test_the_table_names_each_setting_once_in_capitals() -> None:
    """One variable, one line."""
    names = [s.name for s in SETTINGS]
    assert len(set(names)) == len(names)
    assert all(name == name.upper() and PREFIX not in name for name in names)
    assert all(s.kind and s.meaning and s.range for s in SETTINGS)
