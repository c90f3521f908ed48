"""Settings of the access to S3: what they replace, mistakes with remedies, and secrets that no text contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logferry.aws.role import Role
from logferry.errors import SettingsError
from logferry.settings import Settings

if TYPE_CHECKING:
    from logferry.options.s3_access import S3Access

FUNCTION = {
    "AWS_ACCESS_KEY_ID": "ASIAFUNCTION",
    "AWS_SECRET_ACCESS_KEY": "function-secret",
    "AWS_SESSION_TOKEN": "function-token",
    "AWS_REGION": "eu-central-1",
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
}
DESTINATION = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs"} | FUNCTION
ARN = "arn:aws:iam::210987654321:role/logs"
KEYS = {"ACCESS_KEY_ID": "AKIASEPARATE", "SECRET_ACCESS_KEY": "separate-secret"}
R2 = KEYS | {"REGION": "auto", "ENDPOINT_URL": "https://abc123.r2.cloudflarestorage.com"}


def access(environ: dict[str, str] = DESTINATION, /, **options: str) -> S3Access:
    """Return the access of these settings, without their prefix."""
    settings = Settings.from_environ(environ | {f"LOGFERRY_S3_{name}": value for name, value in options.items()})
    assert settings.s3_access is not None
    return settings.s3_access


def mistakes(environ: dict[str, str] = DESTINATION, /, **options: str) -> list[str]:
    """Return the mistakes in these settings."""
    with pytest.raises(SettingsError) as raised:
        access(environ, **options)
    return list(raised.value.mistakes)


def test_without_a_setting_nothing_is_replaced() -> None:
    """The variables of AWS apply."""
    assert Settings.from_environ(DESTINATION).s3_access is None


def test_separate_credentials_replace_those_of_the_function_completely() -> None:
    """The session token of the function would make the signature invalid."""
    found = access(**R2)
    environ = found.environ(FUNCTION | {"AWS_SECURITY_TOKEN": "old", "AWS_USE_FIPS_ENDPOINT": "true"})
    assert environ == {
        "AWS_ACCESS_KEY_ID": "AKIASEPARATE",
        "AWS_SECRET_ACCESS_KEY": "separate-secret",
        "AWS_REGION": "auto",
        "AWS_ENDPOINT_URL_S3": R2["ENDPOINT_URL"],
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
    }
    assert found.role(FUNCTION) is None
    assert access(**R2, SESSION_TOKEN="t").environ(FUNCTION)["AWS_SESSION_TOKEN"] == "t"  # noqa: S105, S106 - of a test


@pytest.mark.parametrize("value", ["true", "false"])
def test_choice_of_the_endpoint_replaces_that_of_the_function_in_both_directions(value: str) -> None:
    """An unset switch leaves the variable of AWS as it is."""
    given = FUNCTION | {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "false"}
    environ = access(DUALSTACK=value).environ(given)
    assert (environ["AWS_USE_DUALSTACK_ENDPOINT"], environ["AWS_USE_FIPS_ENDPOINT"]) == (value, "true")
    assert access(FIPS=value).environ(given)["AWS_USE_FIPS_ENDPOINT"] == value


@pytest.mark.parametrize(
    ("environ", "options", "expected"),
    [
        ({}, {}, {}),
        ({}, {"ROLE_EXTERNAL_ID": "id", "ROLE_SESSION_NAME": "me"}, {"external_id": "id", "session_name": "me"}),
        ({}, {"REGION": "eu-west-1"}, {}),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-3"}, {}, {"region": "eu-west-3"}),
        ({"AWS_REGION": ""}, {"REGION": "eu-west-1"}, {"region": "eu-west-1"}),
        ({"AWS_ENDPOINT_URL": "https://a"}, {}, {"sts_url": "https://a"}),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_STS": "https://b"}, {}, {"sts_url": "https://b"}),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {}, {}),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, {"DUALSTACK": "true"}, {"fips": True, "dualstack": True}),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, {"FIPS": "false"}, {}),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, {"ENDPOINT_URL": "https://s3.example.com"}, {"fips": True}),
    ],
)
def test_role_is_requested_from_the_region_of_the_function(
    environ: dict[str, str], options: dict[str, str], expected: dict[str, str]
) -> None:
    """The endpoint of S3 does not change that of STS, and the variables of STS apply."""
    given = {name: value for name, value in (FUNCTION | environ).items() if value}
    default = Role(arn=ARN, session_name="logferry-orders", external_id="", region="eu-central-1")
    assert access(DESTINATION, ROLE_ARN=ARN, **options).role(given) == default._replace(**expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"ROLE_ARN": "logs"}, "use the ARN of a role, such as arn:aws:iam::123456789012:role/name"),
        ({"ROLE_ARN": "arn:aws:sts::210987654321:assumed-role/logs/x"}, "use the ARN of a role"),
        ({"ROLE_ARN": ARN, "ROLE_EXTERNAL_ID": "a b"}, "use 2 to 1224 letters"),
        ({"ROLE_ARN": ARN, "ROLE_SESSION_NAME": "x" * 65}, "use 2 to 64 letters"),
        ({"ROLE_ARN": ARN, "ROLE_SESSION_NAME": "a/b"}, "use 2 to 64 letters"),
        ({"ROLE_EXTERNAL_ID": "id"}, "set LOGFERRY_S3_ROLE_ARN, or remove it"),
        ({"ROLE_SESSION_NAME": "me"}, "set LOGFERRY_S3_ROLE_ARN, or remove it"),
        ({"ACCESS_KEY_ID": "AKIA"}, "but LOGFERRY_S3_SECRET_ACCESS_KEY is not: set both, or remove both"),
        ({"SECRET_ACCESS_KEY": "x"}, "but LOGFERRY_S3_ACCESS_KEY_ID is not: set both, or remove both"),
        ({"SESSION_TOKEN": "x"}, "set LOGFERRY_S3_ACCESS_KEY_ID and LOGFERRY_S3_SECRET_ACCESS_KEY, or remove it"),
        ({"REGION": "Frankfurt"}, "such as eu-central-1, or auto for Cloudflare R2"),
        ({"REGION": "auto"}, "LOGFERRY_S3_REGION is auto, which is a region of Cloudflare R2: set LOGFERRY_S3_"),
        ({"ENDPOINT_URL": "s3.example.com"}, "use a URL such as https://s3.example.com, without user and query"),
        ({"ENDPOINT_URL": "https://my-log-bucket.s3.example.com"}, "use the endpoint without the bucket"),
        ({"ENDPOINT_URL": "https://s3.example.com", "FIPS": "true"}, "LOGFERRY_S3_FIPS chooses an endpoint of AWS"),
        ({"ENDPOINT_URL": "https://s3.example.com", "DUALSTACK": "1"}, "LOGFERRY_S3_DUALSTACK chooses an endpoint"),
        ({"FIPS": "maybe"}, "use true or false"),
        ({"REGION": "cn-north-1", "FIPS": "true"}, "LOGFERRY_S3_FIPS is true, but the regions of China have no FIPS"),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_is_named_once_with_its_remedy(options: dict[str, str], remedy: str) -> None:
    """The message names the setting, and not the AWS variable that it replaces."""
    (mistake,) = mistakes(**options)
    assert mistake.startswith("LOGFERRY_S3_")
    assert remedy in mistake
    assert "AWS_" not in mistake.replace("LOGFERRY", "")


@pytest.mark.parametrize(
    ("variables", "mistake"),
    [
        (
            {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL_S3": "https://s3.example.com"},
            "AWS_USE_FIPS_ENDPOINT chooses an endpoint of AWS, but AWS_ENDPOINT_URL_S3 is set: remove one of them",
        ),
        (
            {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_REGION": "cn-north-1"},
            "AWS_USE_FIPS_ENDPOINT is true, but the regions of China have no FIPS endpoints: remove it",
        ),
    ],
)
def test_contradictory_variables_of_aws_are_mistakes_too(variables: dict[str, str], mistake: str) -> None:
    """The AWS SDK refuses each request with them."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(DESTINATION | variables)
    assert raised.value.mistakes == [mistake]


def test_a_separate_endpoint_ends_the_mistakes_in_the_endpoint_of_the_function() -> None:
    """Its variables are not used for S3."""
    given = {"AWS_ENDPOINT_URL_S3": "nonsense", "AWS_USE_FIPS_ENDPOINT": "true"}
    access(DESTINATION | given, ENDPOINT_URL="https://s3.example.com")


def test_all_mistakes_are_reported_at_once() -> None:
    """A mistake in a value does not hide those in other ones."""
    found = mistakes(ROLE_ARN="x", ACCESS_KEY_ID="AKIA", STORAGE_CLASS="cold", REGION="EU", ENDPOINT_URL="ftp://x")
    assert len(found) == 5


def test_a_mistake_in_the_endpoint_is_found_before_a_reference_is_resolved() -> None:
    """The URL is known at the start, and the secret key is not."""
    (mistake,) = mistakes(**R2 | {"SECRET_ACCESS_KEY": "secretsmanager:r2", "ENDPOINT_URL": "ftp://x"})
    assert mistake.startswith("LOGFERRY_S3_ENDPOINT_URL is 'ftp://x': use a URL")


@pytest.mark.parametrize("name", ["ENDPOINT_URL", "REGION"])
def test_an_endpoint_that_is_a_reference_is_no_mistake(name: str) -> None:
    """Its rules apply when the value is known."""
    environ = DESTINATION | {f"LOGFERRY_S3_{option}": value for option, value in (R2 | {name: "ssm:/r2"}).items()}
    assert Settings.from_environ(environ).references


def test_each_setting_without_effect_is_reported_once() -> None:
    """A directory has neither a role nor a storage class."""
    directory = FUNCTION | {"LOGFERRY_DESTINATION": "file:///tmp/out"}
    assert len(mistakes(directory, ROLE_ARN=ARN)) == 1
    found = mistakes(directory, ROLE_ARN=ARN, STORAGE_CLASS="STANDARD")
    assert found == [
        f"LOGFERRY_S3_{name} has no effect with a destination file://: remove it"
        for name in ("ROLE_ARN", "STORAGE_CLASS")
    ]


def test_settings_of_the_access_need_one_destination_in_s3() -> None:
    """They apply to the fallback destination too."""
    directory = FUNCTION | {"LOGFERRY_DESTINATION": "file:///tmp/out", "LOGFERRY_FALLBACK_DESTINATION": "s3://bucket"}
    assert access(directory, ROLE_ARN=ARN).role is not None
    assert len(mistakes(directory, ENDPOINT_URL="https://s3.example.com?x")) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"ACCESS_KEY_ID": "hidden key"},
        {"ACCESS_KEY_ID": "hidden", "SECRET_ACCESS_KEY": "hidden\nx: 1"},
        {"ACCESS_KEY_ID": "hidden", "SECRET_ACCESS_KEY": "hidden", "SESSION_TOKEN": "hiddén"},
        {"ENDPOINT_URL": "https://user:hidden@s3.example.com?x"},
        {"ENDPOINT_URL": "https://user:hid@den@s3.example.com/?x"},
        {"ENDPOINT_URL": "https://user:hid/den@s3.example.com/?x"},
    ],
)
def test_no_mistake_contains_a_secret(options: dict[str, str]) -> None:
    """Mistakes are logged."""
    text = "; ".join(mistakes(**options))
    assert "hid" not in text
    assert "LOGFERRY_S3_" in text


def test_no_representation_contains_a_secret() -> None:
    """Tracebacks and debuggers show it."""
    found = access(**R2, SESSION_TOKEN="t0ken")  # noqa: S106 - of a test
    settings = Settings.from_environ(DESTINATION | {f"LOGFERRY_S3_{name}": value for name, value in R2.items()})
    for text in (repr(found), str(found), repr(settings)):
        assert "separate-secret" not in text
        assert "AKIASEPARATE" not in text
        assert "t0ken" not in text
