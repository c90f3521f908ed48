"""Settings of the records: valid values, and a remedy for each mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logferry.errors import SettingsError
from logferry.options.records import PRESETS
from logferry.records import mask_rules, object_key
from logferry.settings import Settings

if TYPE_CHECKING:
    from logferry.records.processing import Processing

DESTINATION = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs", "AWS_REGION": "eu-central-1"}


def read(**given: str) -> Settings:
    """Return the settings of an environment with a destination and with these."""
    return Settings.from_environ(DESTINATION | {f"LOGFERRY_{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"MIN_LEVEL": "loud"}, "choose one of trace, debug, info, warn, error, fatal"),
        ({"INCLUDE": "("}, "missing )"),
        ({"EXCLUDE": "(?!x)"}, "look-around"),
        ({"EXCLUDE": "a*"}, "matches every line"),
        ({"EXCLUDE_TYPES": "platform start"}, "use names such as platform.start"),
        ({"EXCLUDE_TYPES": "logferry.dropped"}, "reports of losses"),
        ({"EXCLUDE_TYPES": "log*"}, "reports of losses"),
        ({"SAMPLE": "10"}, "use a number from 0 to 1"),
        ({"SAMPLE": "nan"}, "use a number from 0 to 1"),
        ({"SAMPLE": "0.1", "SAMPLE_KEEP": "failures"}, "choose one of none, errors"),
        ({"SAMPLE_KEEP": "errors"}, "set LOGFERRY_SAMPLE"),
        ({"SAMPLE": "0.1", "SAMPLE_KEEP": "errors", "TYPES": "function"}, "add platform to LOGFERRY_TYPES"),
        ({"MIN_LEVEL": "info", "TYPES": "platform"}, "add function to LOGFERRY_TYPES"),
        ({"MASK": "emails"}, "'emails' is not a preset: separate the rules by commas"),
        ({"MASK": "email;ipv4"}, "is not a rule"),
        ({"MASK": "email,,ipv4"}, "is not a rule"),
        ({"MASK": "email,/a"}, "'/a' is not a rule"),
        ({"MASK": "$.a["}, "is not a rule"),
        ({"MASK": "$..a=/(?=x)/"}, "look-around"),
        ({"MASK": "/(a)(b)/"}, "use (?:…)"),
        ({"MASK": "/a*/"}, "matches the empty text"),
        ({"MASK": "email=/a/"}, "choose another name"),
        ({"MASK": "$.a b"}, "is not a rule"),
        ({"MASK": "$.a-[x]"}, "use a path such as"),
        ({"FIELDS": "team"}, "use name=value"),
        ({"FIELDS": "team=a,Team=b"}, "choose another name"),
        ({"FIELDS": "message=x"}, "choose another name"),
        ({"FIELDS": "dt=x"}, "choose another name"),
        ({"FIELDS": "a-b=x"}, "use name=value"),
        ({"FIELDS": "a=x\ny"}, "use name=value"),
        ({"LINE_FIELDS": "levels"}, "list one or more of fields, account, level"),
        ({"LINE_FIELDS": "fields"}, "LOGFERRY_FIELDS is not set"),
        ({"LINE_FIELDS": "fields", "FIELDS": "env=x", "KEY": "env=p/{environment}-{segment}.gz"}, "also a partition"),
        ({"FORMAT": "csv"}, "choose one of ndjson, text, otlp"),
        ({"FORMAT": "otlp", "COMPRESSION": "zstd"}, "reads gzip only"),
        ({"FORMAT": "otlp", "KEY": "{environment}/{segment}.ndjson.gz"}, "must end with .json"),
        ({"FORMAT": "text", "LINE_FIELDS": "level"}, "text does not have"),
        ({"COMPRESSION": "zstd", "KEY": "{environment}/{segment}.gz"}, "append .zst"),
        ({"COMPRESSION": "none", "KEY": "{environment}/{segment}.zst"}, "remove the suffix"),
        ({"OBJECT_BYTES": "1KiB"}, "use a size from 64KiB to 256MiB"),
        ({"OBJECT_BYTES": "64MiB"}, "must be smaller than LOGFERRY_SPOOL_BYTES"),
    ],
    ids=str,
)
def test_mistake_is_reported_with_its_remedy(given: dict[str, str], remedy: str) -> None:
    """One message for each mistake."""
    with pytest.raises(SettingsError) as caught:
        read(**given)
    assert len(caught.value.mistakes) == 1
    assert remedy in caught.value.mistakes[0]


def test_the_table_names_every_preset() -> None:
    """The names are listed in the table, so that a start without LOGFERRY_MASK imports no rules."""
    assert PRESETS == mask_rules.PRESETS


def test_values_become_one_processing() -> None:
    """Features that are off have no object, so that nothing is counted for them."""
    given = processing(MASK="email, $.a.b", EXCLUDE_TYPES="platform.start,platform.init*")
    assert given is not None
    selection = given.selection
    assert selection is not None
    assert (set(selection.types), selection.type_prefixes) == ({"platform.start"}, ("platform.init",))
    assert not selection.reads_lines
    assert given.masker is not None
    only_level = processing(MIN_LEVEL="WARN")
    assert only_level is not None
    assert only_level.selection is not None
    assert only_level.selection.min_rank == 3
    assert only_level.masker is None
    assert processing(SAMPLE="1", MIN_LEVEL="trace", OBJECT_BYTES="1MiB") is None
    named = processing(FIELDS="team=x, env = a=b")
    assert named is not None
    assert named.fields == ((("team", "x"), ("env", "a=b")), frozenset())


def processing(**given: str) -> Processing | None:
    """Return the processing of records with these settings."""
    options = read(**given).records
    assert options is not None
    return options.processing


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, object_key.DEFAULT_KEY),
        ({"COMPRESSION": "none"}, object_key.DEFAULT_KEY.removesuffix(".gz")),
        ({"COMPRESSION": "zstd"}, object_key.DEFAULT_KEY.removesuffix(".gz") + ".zst"),
        ({"FORMAT": "text", "COMPRESSION": "zstd"}, object_key.DEFAULT_KEY.removesuffix(".ndjson.gz") + ".log.zst"),
        ({"FORMAT": "text"}, object_key.DEFAULT_KEY.removesuffix(".ndjson.gz") + ".log.gz"),
        ({"FORMAT": "text", "KEY": "{environment}/{segment}.txt.gz"}, "{environment}/{segment}.txt.gz"),
        ({"FORMAT": "otlp", "KEY": "{environment}/{segment}.json.gz"}, "{environment}/{segment}.json.gz"),
        (
            {"FORMAT": "otlp"},
            "year={year}/month={month}/day={day}/hour={hour}/logs_{function}_{time}-{environment}-{segment}.json.gz",
        ),
    ],
    ids=str,
)
def test_default_key_follows_format_and_compression(given: dict[str, str], key: str) -> None:
    """Readers infer both from the name."""
    assert read(**given).key == key
