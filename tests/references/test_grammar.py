"""References in the texts of settings, and the settings that can have them."""

from __future__ import annotations

import pytest

from logferry.errors import SettingsError
from logferry.references.grammar import Reference, find, parse
from logferry.settings import REFERENCE_MARKS, Settings

DESTINATION = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs"}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("ssm:/logs/destination", Reference("ssm", "/logs/destination", "", "")),
        ("ssm:destination", Reference("ssm", "destination", "", "")),
        ("ssm:/logs/destination:3", Reference("ssm", "/logs/destination:3", "", "")),
        ("ssm:/logs/destination:live", Reference("ssm", "/logs/destination:live", "", "")),
        (
            "ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/logs/destination:2",
            Reference("ssm", "arn:aws:ssm:eu-west-1:123456789012:parameter/logs/destination:2", "", "eu-west-1"),
        ),
        ("secretsmanager:logs/token", Reference("secretsmanager", "logs/token", "", "")),
        ("secretsmanager:logs/token#api key", Reference("secretsmanager", "logs/token", "api key", "")),
        (
            "secretsmanager:arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:logs-AbCdEf#token",
            Reference(
                "secretsmanager",
                "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:logs-AbCdEf",
                "token",
                "cn-north-1",
            ),
        ),
    ],
)
def test_a_reference_names_service_value_key_and_region(text: str, reference: Reference) -> None:
    """The region of an ARN counts, because a secret can be in another one."""
    assert parse(text) == reference
    assert reference.text == text


@pytest.mark.parametrize(
    "text",
    [
        "ssm:",
        "ssm: /x",
        "ssm:/a b",
        "ssm:/x#key",
        "ssm:/x:1:2",
        "secretsmanager:",
        "secretsmanager:x#",
        "s3://ssm:/x",
        "SSM:/x",
    ],
)
def test_other_texts_are_no_references(text: str) -> None:
    """A malformed reference is not resolved."""
    assert parse(text) is None


def test_a_malformed_reference_is_a_mistake_with_the_forms() -> None:
    """The mistake is reported with those of all other settings."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"LOGFERRY_DESTINATION": "ssm:/a b", "LOGFERRY_FLUSH": "often"})
    first, second = caught.value.mistakes
    assert first == (
        "LOGFERRY_DESTINATION begins like a reference, but has another form: use ssm:/path/name, "
        "ssm:/path/name:version, secretsmanager:name or secretsmanager:name#key"
    )
    assert second.startswith("LOGFERRY_FLUSH is 'often'")


@pytest.mark.parametrize("name", ["FLUSH", "SPOOL_DIR", "EXCLUDE", "FIELDS", "S3_CLIENT", "LOG_LEVEL"])
def test_a_reference_in_a_setting_that_the_start_needs_is_a_mistake(name: str) -> None:
    """The Init phase must not wait for the network."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(DESTINATION | {f"LOGFERRY_{name}": "ssm:/logs/value"})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"LOGFERRY_{name} is 'ssm:/logs/value', but only the settings of the upload can be")
    for allowed in ("LOGFERRY_DESTINATION", "LOGFERRY_FALLBACK_DESTINATION", "LOGFERRY_HTTPS_…", "LOGFERRY_S3_…"):
        assert allowed in mistake
    assert mistake.endswith("because all others are needed before the network is: write the value itself")


def test_a_text_that_only_begins_like_a_reference_keeps_its_meaning() -> None:
    """A pattern for lines of the function can begin with `ssm:`."""
    settings = Settings.from_environ(DESTINATION | {"LOGFERRY_EXCLUDE": "ssm: retry", "LOGFERRY_FIELDS": "a=ssm:/x"})
    assert settings.references is None


def test_settings_with_references_are_left_out_and_all_others_are_checked() -> None:
    """A mistake in any other setting is reported at the start."""
    environ = {
        "LOGFERRY_DESTINATION": "secretsmanager:logs#destination",
        "LOGFERRY_S3_ENCRYPTION": "aws:kms",
        "LOGFERRY_S3_KMS_KEY": "ssm:/logs/key",
        "LOGFERRY_S3_TAGS": "team=payments,cost=ssm:/logs/cost",
    }
    settings = Settings.from_environ(environ)
    assert settings.references
    assert {one.text for one in settings.references.all} == {
        "secretsmanager:logs#destination",
        "ssm:/logs/key",
        "ssm:/logs/cost",
    }
    assert settings.s3 is None
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ | {"LOGFERRY_S3_ACL": "everybody", "LOGFERRY_KEY": "no-fields"})
    assert [mistake.partition(" ")[0] for mistake in caught.value.mistakes] == ["LOGFERRY_KEY", "LOGFERRY_S3_ACL"]


def test_the_values_complete_the_settings_as_if_they_were_set() -> None:
    """The second reading validates everything, because combinations of values can be wrong too."""
    environ = {
        "LOGFERRY_DESTINATION": "ssm:/logs/destination",
        "LOGFERRY_S3_TAGS": "team=payments, cost=ssm:/logs/cost",
    }
    references = Settings.from_environ(environ).references
    assert references
    values = {one: {"/logs/destination": "s3://bucket/x", "/logs/cost": "12"}[one.name] for one in references.all}
    filled = references.filled(values)
    assert filled == {"DESTINATION": "s3://bucket/x", "S3_TAGS": "team=payments, cost=12"}
    settings = Settings.from_environ(environ, filled)
    expected = {"LOGFERRY_DESTINATION": "s3://bucket/x", "LOGFERRY_S3_TAGS": "team=payments,cost=12"}
    assert settings == Settings.from_environ(expected)


def test_no_mistake_contains_a_value_of_a_reference() -> None:
    """The value may be a secret, and the messages are in the log of the function."""
    environ = {"LOGFERRY_DESTINATION": "ssm:/a", "LOGFERRY_S3_TAGS": "ssm:/b", "LOGFERRY_S3_ACL": "ssm:/c"}
    values = {"DESTINATION": "s3://hidden/%Y", "S3_TAGS": "hidden", "S3_ACL": "hidden"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ, values)
    assert len(caught.value.mistakes) == 3
    assert "hidden" not in str(caught.value)
    assert "LOGFERRY_S3_TAGS is not valid with the value of its reference: use name=value,name=value" in str(
        caught.value
    )


def test_a_value_with_a_comma_cannot_be_in_a_list_of_pairs() -> None:
    """It would add a pair that the setting does not have."""
    references, _ = find({"S3_TAGS": "a=ssm:/x"}, {})
    assert references
    with pytest.raises(ValueError, match=r"LOGFERRY_S3_TAGS: the value of ssm:/x contains a comma") as caught:
        references.filled({parse("ssm:/x"): "1,b=hidden"})  # type: ignore[dict-item]
    assert "hidden" not in str(caught.value)


def test_separate_credentials_can_be_references() -> None:
    """Half a pair is found with the values, because each of both can be in another place."""
    environ = DESTINATION | {
        "LOGFERRY_S3_ACCESS_KEY_ID": "key",
        "LOGFERRY_S3_SECRET_ACCESS_KEY": "secretsmanager:r2#secret",
        "LOGFERRY_S3_REGION": "auto",
        "LOGFERRY_S3_ENDPOINT_URL": "https://account.r2.cloudflarestorage.com",
    }
    settings = Settings.from_environ(environ)
    assert settings.s3_access is None
    resolved = Settings.from_environ(environ, {"S3_SECRET_ACCESS_KEY": "hidden"})
    assert resolved.s3_access
    assert "hidden" in resolved.s3_access.variables.values()
    assert "hidden" not in repr(resolved)
    with pytest.raises(SettingsError, match="set both, or remove both") as caught:
        Settings.from_environ({**environ, "LOGFERRY_S3_ACCESS_KEY_ID": ""}, {"S3_SECRET_ACCESS_KEY": "hidden"})
    assert "hidden" not in str(caught.value)


def test_a_value_in_headers_is_escaped() -> None:
    """A header can have commas and percent signs, and is read as it was stored."""
    environ = {
        "LOGFERRY_DESTINATION": "https://example.com/logs",
        "LOGFERRY_HTTPS_HEADERS": "X-Api-Key=ssm:/key,X-Team=a%2Cb",
        "LOGFERRY_HTTPS_TOKEN": "secretsmanager:otel#token",
    }
    references = Settings.from_environ(environ).references
    assert references
    values = {one: {"/key": "100%,2", "otel": "token-1"}[one.name] for one in references.all}
    settings = Settings.from_environ(environ, references.filled(values))
    assert settings.https
    assert settings.https.headers == {"authorization": "Bearer token-1", "x-api-key": "100%,2", "x-team": "a,b"}


def test_the_marks_of_the_settings_are_those_of_the_grammar() -> None:
    """The settings look for them before they import the grammar."""
    from logferry.references import grammar  # noqa: PLC0415

    assert grammar.MARKS == REFERENCE_MARKS
