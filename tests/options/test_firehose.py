"""Settings with a Firehose destination: its own setting, and those that have no effect there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import logferry
from logferry.destination import parse, parse_readable
from logferry.errors import SettingsError
from logferry.options.firehose import MAX_LINES
from logferry.settings import Settings
from logferry.sinks.firehose import data_records

SOURCE = Path(logferry.__file__).parents[1]
STREAM = {"LOGFERRY_DESTINATION": "firehose://my-stream", "AWS_REGION": "eu-central-1"}


def mistakes(**further: str) -> list[str]:
    """Return the mistakes of an environment with a stream."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(STREAM | further)
    return raised.value.mistakes


def test_number_of_lines_has_firehoses_limit() -> None:
    """The table must not import the sink for its default."""
    assert MAX_LINES == data_records.MAX_LINES
    options = Settings.from_environ(STREAM | {"LOGFERRY_FIREHOSE_LINES": "1"}).firehose
    assert options is not None
    assert options.max_lines == 1
    (mistake,) = mistakes(LOGFERRY_FIREHOSE_LINES="501")
    assert "use a whole number from 1 to 500" in mistake


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("firehose://", "use firehose://name with a name of 1 to 64"),
        ("firehose://a/b", "use firehose://name with a name of 1 to 64"),
        ("firehose://" + "a" * 65, "use firehose://name with a name of 1 to 64"),
        ("firehose://näme", "use firehose://name with a name of 1 to 64"),
        ("firehose://name?", None),
        ("firehose://name?region=", "firehose://name?region=eu-central-1"),
        ("firehose://name?regio=eu-west-1", "firehose://name?region=eu-central-1"),
        ("firehose://name?region=eu-west-1&x=1", "firehose://name?region=eu-central-1"),
        ("firehose://arn:aws:firehose:eu-west-1:123456789012:deliverystream/x", "instead of its ARN, and ?region="),
        ("firehouse://name", "use s3://bucket/prefix, firehose://stream"),
    ],
)
def test_url_that_is_no_stream_is_a_mistake_with_a_remedy(url: str, remedy: str | None) -> None:
    """A name that Firehose refuses is found before the first request."""
    if remedy is None:
        assert parse(url).authority == "name"
        return
    (mistake,) = mistakes(LOGFERRY_DESTINATION=url)
    assert remedy in mistake


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY", "{environment}-{segment}.ndjson.gz"),
        ("COMPRESSION", "zstd"),
        ("S3_CLIENT", "sdk"),
        ("S3_STORAGE_CLASS", "STANDARD_IA"),
        ("HTTPS_TOKEN", "token"),
    ],
)
def test_setting_without_effect_is_a_mistake(name: str, value: str) -> None:
    """Firehose names and compresses the objects."""
    (mistake,) = mistakes(**{f"LOGFERRY_{name}": value})
    assert mistake == f"LOGFERRY_{name} has no effect with a destination firehose://: remove it"


@pytest.mark.parametrize("destination", ["s3://bucket/logs", "file:///tmp/out", "https://example.com/logs"])
def test_setting_of_streams_is_a_mistake_elsewhere(destination: str) -> None:
    """No other destination has records of Firehose."""
    (mistake,) = mistakes(LOGFERRY_DESTINATION=destination, LOGFERRY_FIREHOSE_LINES="1")
    assert "LOGFERRY_FIREHOSE_LINES has no effect" in mistake


@pytest.mark.parametrize("form", ["text", "otlp"])
def test_format_whose_repetitions_cannot_be_removed_is_a_mistake(form: str) -> None:
    """Readers need the place of each line, and Firehose needs lines."""
    (mistake,) = mistakes(LOGFERRY_FORMAT=form)
    assert mistake.startswith(f"LOGFERRY_FORMAT is {form}, whose ")
    assert mistake.endswith(": use ndjson")


def test_other_settings_of_records_keep_their_effect() -> None:
    """Selection, masking, columns and the size of a segment do not depend on the destination."""
    settings = Settings.from_environ(
        STREAM | {"LOGFERRY_LINE_FIELDS": "level", "LOGFERRY_OBJECT_BYTES": "1MiB", "LOGFERRY_MIN_LEVEL": "info"}
    )
    assert settings.object_bytes == 1024 * 1024
    assert settings.records is not None


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("AWS_ENDPOINT_URL_FIREHOSE", "ftp://x", "use a URL such as https://firehose.example.com"),
        ("AWS_ENDPOINT_URL", "nonsense", "use a URL such as https://firehose.example.com"),
        ("AWS_REGION", "Frankfurt", "which is not a region"),
        ("AWS_USE_FIPS_ENDPOINT", "yes", "use true or false"),
        ("AWS_CA_BUNDLE", "/nonexistent", "there is no such file"),
        ("HTTPS_PROXY", "not a proxy", "is not a proxy address"),
    ],
)
def test_aws_variables_are_checked(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str) -> None:
    """The same rules apply as for a bucket."""
    monkeypatch.delenv("https_proxy", raising=False)
    (mistake,) = mistakes(**{variable: value})
    assert variable in mistake
    assert remedy in mistake


def test_endpoint_of_s3_does_not_concern_a_stream() -> None:
    """A function can use a special endpoint of S3 for itself."""
    assert Settings.from_environ(STREAM | {"AWS_ENDPOINT_URL_S3": "nonsense"})


def test_commands_do_not_take_a_stream_for_a_bucket() -> None:
    """The objects are in the bucket of the stream."""
    with pytest.raises(ValueError, match="read them there"):
        parse_readable("firehose://my-stream")


@pytest.mark.parametrize("destination", ["s3://my-log-bucket/logs", "file:///tmp/out"])
def test_nothing_of_firehose_is_imported_for_another_destination(destination: str) -> None:
    """A destination that is not used costs a start nothing."""
    environ = STREAM | {
        "LOGFERRY_DESTINATION": destination,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    look = (
        f"import sys; sys.path[:0] = {[str(SOURCE), *sys.path]!r}\n"
        "from logferry.settings import Settings\n"
        "from logferry.shipper.upload_target import open_target\n"
        f"environ = {environ!r}\n"
        "open_target(Settings.from_environ(environ), environ)\n"
        "print(*(name for name in sys.modules if 'firehose' in name))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
