"""Settings of the records: valid values, and a remedy for each mistake."""

from __future__ import annotations

import pytest

from logferry.errors import SettingsError
from logferry.settings import Settings

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
    ],
    ids=str,
)
def test_mistake_is_reported_with_its_remedy(given: dict[str, str], remedy: str) -> None:
    """One message for each mistake."""
    with pytest.raises(SettingsError) as caught:
        read(**given)
    assert len(caught.value.mistakes) == 1
    assert remedy in caught.value.mistakes[0]


def test_values_become_one_processing() -> None:
    """Features that are off have no object, so that nothing is counted for them."""
    given = read(MASK="email, $.a.b", EXCLUDE_TYPES="platform.start,platform.init*").records
    assert given is not None
    selection = given.processing.selection
    assert selection is not None
    assert (set(selection.types), selection.type_prefixes) == ({"platform.start"}, ("platform.init",))
    assert not selection.reads_lines
    assert given.processing.masker is not None
    only_level = read(MIN_LEVEL="WARN").records
    assert only_level is not None
    assert only_level.processing.selection is not None
    assert only_level.processing.selection.min_rank == 3
    assert only_level.processing.masker is None
    off = read(SAMPLE="1", MIN_LEVEL="trace").records
    assert off is not None
    assert off.processing == (None, None, None)
    named = read(FIELDS="team=x, env = a=b").records
    assert named is not None
    assert named.processing.fields == ((("team", "x"), ("env", "a=b")), frozenset())
