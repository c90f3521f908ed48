"""Combinations of settings and AWS variables, and names that query engines misread or skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logferry.errors import SettingsError
from logferry.settings import Settings
from logferry.settings_validation import COLUMNS, MAX_FIELD_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def mistakes(key: str | None = None, destination: str = "s3://logs/app", **environ: str) -> list[str]:
    """Return the mistakes of an environment with these settings and variables."""
    variables = {"LOGFERRY_DESTINATION": destination} | ({} if key is None else {"LOGFERRY_KEY": key}) | environ
    try:
        Settings.from_environ(variables)
    except SettingsError as error:
        return error.mistakes
    return []


PLACE = "{environment}-{segment}"


@pytest.mark.parametrize(
    ("key", "compression", "remedy"),
    [
        (f"dt={{date}}/{PLACE}.json", "gzip", "append .gz, or set LOGFERRY_COMPRESSION=none"),
        (f"dt={{date}}/{PLACE}", "gzip", "append .gz"),
        (f"dt={{date}}/{PLACE}.ndjson.gz", "none", "remove the suffix, or set LOGFERRY_COMPRESSION=gzip"),
        (f"{PLACE}.zst", "none", "remove the suffix"),
        (f"{PLACE}.GZ", "none", "remove the suffix"),
    ],
)
def test_a_suffix_that_contradicts_the_compression_is_a_mistake(key: str, compression: str, remedy: str) -> None:
    """Readers infer the compression from the name, and would read compressed bytes as text."""
    (mistake,) = mistakes(key, LOGFERRY_COMPRESSION=compression)
    assert mistake.startswith("LOGFERRY_KEY ")
    assert remedy in mistake


@pytest.mark.parametrize(("key", "compression"), [(f"{PLACE}.ndjson.gz", "gzip"), (f"{PLACE}.ndjson", "none")])
def test_a_suffix_that_fits_the_compression_is_accepted(key: str, compression: str) -> None:
    """The rule allows both compressions."""
    assert mistakes(key, LOGFERRY_COMPRESSION=compression) == []


@pytest.mark.parametrize("column", [*sorted(COLUMNS), "requestId", "Type"])
def test_a_partition_with_the_name_of_a_column_is_a_mistake(column: str) -> None:
    """An engine would find two values for the column. Engines do not distinguish case."""
    (mistake,) = mistakes(f"{column}=x/{PLACE}.gz")
    assert f"the partition '{column}'" in mistake
    (mistake,) = mistakes(destination=f"s3://logs/{column}=x")
    assert mistake.startswith("LOGFERRY_DESTINATION has the partition ")


def test_other_partitions_are_accepted() -> None:
    """A name that only contains the name of a column is no column, and a file name is no partition."""
    assert mistakes(f"log_type=x/dt={{date}}/type={PLACE}.gz", destination="s3://logs/team=a") == []


@pytest.mark.parametrize("key", [f"{{date}}/_{PLACE}.gz", f"_x/{PLACE}.gz", f".x/{PLACE}.gz", f"a/.{PLACE}.gz"])
def test_a_part_of_the_key_that_engines_skip_is_a_mistake(key: str) -> None:
    """Spark, Hive and Athena skip names that begin with an underscore or a dot."""
    (mistake,) = mistakes(key)
    assert "is hidden for Spark, Hive and Athena" in mistake


def test_a_part_of_the_prefix_that_engines_skip_is_a_mistake() -> None:
    """The rule applies to the prefix too. A directory of a test is free."""
    (mistake,) = mistakes(destination="s3://logs/_archive/app")
    assert mistake.startswith("LOGFERRY_DESTINATION has the part '_archive'")
    assert mistakes(destination="file:///home/me/.cache/logs") == []


def test_a_function_name_with_an_underscore_hides_a_part_of_the_key() -> None:
    """Lambda allows function names that begin with an underscore."""
    key = f"{{function}}/{PLACE}.gz"
    assert mistakes(key, AWS_LAMBDA_FUNCTION_NAME="orders") == []
    (mistake,) = mistakes(key, AWS_LAMBDA_FUNCTION_NAME="_orders")
    assert "'{function}'" in mistake


@pytest.mark.parametrize(
    ("key", "compression"), [(f"a//{PLACE}.gz", "gzip"), (f"{PLACE}/", "none"), (f"a\n/{PLACE}.gz", "gzip")]
)
def test_an_empty_or_unprintable_part_of_the_key_is_a_mistake(key: str, compression: str) -> None:
    """A key that ends with a slash is a folder in the S3 console."""
    (mistake,) = mistakes(key, LOGFERRY_COMPRESSION=compression)
    assert "empty or unprintable part" in mistake


def test_a_strftime_directive_in_the_key_is_a_mistake() -> None:
    """Other tools replace %Y. logferry stores the literal text."""
    (mistake,) = mistakes(f"%Y/%m/%d/{PLACE}.gz")
    assert "LOGFERRY_KEY has %Y, which is not replaced" in mistake


def test_a_key_longer_than_s3_allows_is_a_mistake() -> None:
    """The length is that of the longest values, in bytes of UTF-8."""
    fixed = MAX_FIELD_BYTES["environment"] + MAX_FIELD_BYTES["segment"] + len("-.gz") + len("app/")
    assert mistakes((1024 - fixed - 1) * "a" + f"/{PLACE}.gz") == []
    (mistake,) = mistakes((1024 - fixed) * "a" + f"/{PLACE}.gz")
    assert "keys of up to 1025 bytes" in mistake
    assert len(mistakes(f"{PLACE}.gz", destination="s3://logs/" + 512 * "ä")) == 1


def test_the_real_function_name_decides_about_the_length_of_a_key() -> None:
    """The maximum length of a function name applies only if the name is not known."""
    key = (1024 - 64 - 36) * "a" + f"{{function}}/{PLACE}.gz"
    assert len(mistakes(key)) == 1
    assert mistakes(key, AWS_LAMBDA_FUNCTION_NAME="short") == []


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "https://logs.s3.example.test",
        "http://logs.s3.example.test:9000",
        "https://logs.s3.eu-central-1.amazonaws.com",
        "https://LOGS.s3.amazonaws.com/",
        "https://logs.fra1.spaces.example",
        "https://account.r2.example.com/logs",
        "https://s3.example.com/base/logs/",
    ],
)
def test_an_endpoint_with_the_bucket_is_a_mistake(name: str, url: str) -> None:
    """Consoles show the address of a bucket. The objects would get a second prefix."""
    (mistake,) = mistakes(**{name: url})
    assert mistake.startswith(f"{name} is {url!r}, which already contains the bucket logs")


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.test",
        "http://127.0.0.1:9000",
        "http://[::1]:9000/",
        "http://logs.local:9000",
        "http://logs:9000",
        "https://logserver.s3.example.test",
        "https://bucket.vpce-0a1b-abcd.s3.eu-central-1.vpce.amazonaws.com",
    ],
)
def test_an_endpoint_without_the_bucket_is_accepted(url: str) -> None:
    """A server can have the name of a bucket."""
    assert mistakes(AWS_ENDPOINT_URL_S3=url) == []


def test_the_first_endpoint_variable_decides() -> None:
    """AWS_ENDPOINT_URL_S3 precedes AWS_ENDPOINT_URL, and both can be switched off."""
    wrong = "https://logs.s3.example.test"
    assert mistakes(AWS_ENDPOINT_URL_S3="https://s3.example.test", AWS_ENDPOINT_URL=wrong) == []
    assert mistakes(AWS_ENDPOINT_URL_S3=wrong, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true") == []


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("AWS_ENDPOINT_URL_S3", "s3.example.test", "use a URL such as"),
        ("AWS_ENDPOINT_URL_S3", "ftp://s3.example.test", "use a URL such as"),
        ("AWS_ENDPOINT_URL", "https://s3.example.test:99999", "use a URL such as"),
        ("AWS_ENDPOINT_URL", "https://s3.example.test/?x=1", "use a URL such as"),
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem", "there is no such file"),
        ("HTTPS_PROXY", "http://proxy:port", "use a URL such as"),
        ("https_proxy", "proxy example:3128", "use a URL such as"),
        ("AWS_USE_FIPS_ENDPOINT", "yes", "use true or false"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "1", "use true or false"),
        ("AWS_REGION", "Frankfurt", "use a name such as eu-central-1"),
    ],
)
def test_an_invalid_aws_variable_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    """The AWS SDKs ignore or misread most of these values silently."""
    (mistake,) = mistakes(**{name: value})
    assert mistake.startswith(f"{name} is ")
    assert remedy in mistake
    assert mistakes(destination="file:///tmp/x", **{name: value}) == []


def test_valid_aws_variables_are_accepted(tmp_path: Path) -> None:
    """An http endpoint uses neither the CA bundle nor HTTPS_PROXY, so they do not matter."""
    (tmp_path / "ca.pem").touch()
    valid = {
        "AWS_REGION": "us-gov-west-1",
        "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"),
        "HTTPS_PROXY": "http://user:p%40ss@proxy.example.com:3128",
        "AWS_USE_FIPS_ENDPOINT": "TRUE",
    }
    assert mistakes(**valid) == []
    unused = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000", "AWS_CA_BUNDLE": "/nowhere", "HTTPS_PROXY": "a b"}
    assert mistakes(**unused) == []


def test_a_password_of_a_proxy_is_not_part_of_the_message() -> None:
    """Messages go to CloudWatch."""
    (mistake,) = mistakes(HTTPS_PROXY="http://user:secret@proxy:port")
    assert "secret" not in mistake
