"""Settings of the environment, of an env file, and of a function's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.check_runs import check, refusing, s3_that

ROOT = Path(__file__).parents[3]


def test_all_mistakes_are_reported_at_once() -> None:
    """The other checks are left out, because the extension would be idle."""
    done = check({"LOGFERRY_FLUSH": "never", "LOGFERRY_S3_TAGS": "a", "LOGFERRY_FLUSCH": "size"})
    assert (done.status, list(done.steps)) == (1, ["settings"])
    notes = " ".join(done.steps["settings"]["notes"])
    for name in ("LOGFERRY_DESTINATION is not set", "LOGFERRY_FLUSH is 'never'", "LOGFERRY_S3_TAGS", "LOGFERRY_FLUSCH"):
        assert name in notes
    assert done.steps["settings"]["detail"].startswith("4 mistakes")


def test_the_settings_that_differ_from_their_defaults_are_named(tmp_path: Path) -> None:
    """Values are not shown, because some of them are secrets."""
    given = {"LOGFERRY_MASK": "email", "LOGFERRY_FLUSH": "time", "LOGFERRY_STRICT": "false", "LOGFERRY_FIELDS": "a=b"}
    done = check(given, f"file://{tmp_path}/out")
    assert done.steps["settings"]["detail"] == "valid; flush time, compression gzip; set: MASK, FIELDS"


def test_a_disabled_extension_is_a_warning(tmp_path: Path) -> None:
    """The destination is checked nevertheless."""
    done = check({"LOGFERRY_ENABLED": "no"}, f"file://{tmp_path}/out")
    assert (done.status, done.steps["settings"]["status"]) == (0, "warning")
    assert done.steps["put"]["status"] == "ok"


def test_the_example_of_the_environment_is_an_env_file() -> None:
    """config/example.env is what users copy. The given destination replaces its own."""
    with s3_that(refusing({})) as (environment, requests):
        example = str(ROOT / "config" / "example.env")
        done = check(environment | {"LOGFERRY_FLUSH": "never"}, "--settings", example)
    assert done.status == 0, done.output
    assert any("/my-log-bucket/logs/_logferry_check/" in text for text in requests.texts)


def test_an_env_file_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    """Quotes are a part of a value there, which is a frequent mistake."""
    file = tmp_path / "function.env"
    file.write_text(
        f'# comment\n\n  # another\nLOGFERRY_DESTINATION=file://{tmp_path}/out\nLOGFERRY_FIELDS="team=x"\nEMPTY=\n'
    )
    done = check({}, "--settings", str(file))
    assert (done.status, done.steps["settings"]["status"]) == (1, "failed")
    assert any("line 5: the quotes" in note for note in done.steps["settings"]["notes"])


def configuration(variables: Any, **more: Any) -> dict[str, Any]:
    """Return what `aws lambda get-function-configuration` prints."""
    return {
        "FunctionName": "pay",
        "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:pay",
        "Environment": {"Variables": variables},
        **more,
    }


@pytest.mark.parametrize("form", ["configuration", "function", "environment"])
def test_a_configuration_of_a_function_gives_settings_region_and_name(form: str, tmp_path: Path) -> None:
    """The output of three commands has the same variables."""
    with s3_that(refusing({})) as (environment, requests):
        document: Any = configuration({"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs"})
        document = {"function": {"Configuration": document}, "environment": document["Environment"]}.get(form, document)
        file = tmp_path / "function.json"
        file.write_text(json.dumps(document))
        done = check(environment | {"LOGFERRY_FLUSH": "never"}, "--settings", str(file))
    assert done.status == 0, done.output
    region = "us-east-1" if form == "environment" else "eu-west-1"
    assert any(f"/{region}/s3/aws4_request" in text for text in requests.texts)


@pytest.mark.parametrize(
    ("destination", "remedy"),
    [
        ("s3://my-log-bucket/logs", "an S3 gateway endpoint"),
        ("firehose://logs", "an endpoint for Firehose"),
        ("https://logs.example.com/v1", "a route to the receiver"),
        ("file://{}/out", None),
    ],
)
def test_a_function_in_a_vpc_is_a_warning(tmp_path: Path, destination: str, remedy: str | None) -> None:
    """The network of this machine proves nothing about that of the function. The remedy fits the destination."""
    no_endpoints = dict.fromkeys(("AWS_ENDPOINT_URL", "HTTPS_PROXY"), "http://127.0.0.1:9")
    variables = no_endpoints | {"LOGFERRY_DESTINATION": destination.format(tmp_path)}
    document = configuration(variables, VpcConfig={"SubnetIds": ["subnet-1"]})
    network = check({}, "--settings", "-", stdin=json.dumps(document)).steps.get("network")
    assert bool(network) == bool(remedy)
    if network:
        assert network["status"] == "warning"
        assert remedy in network["remedy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LOGFERRY_FLUSH\nA=b\n1X=2\n", "lines 1, 3 are not NAME=VALUE"),
        ("{", "it is not valid JSON"),
        ("{}", "neither Environment nor Variables"),
        ('{"Configuration": []}', "neither Environment nor Variables"),
        ('{"Environment": {"Variables": {"A": 1}}}', "not an object of strings"),
        ('{"Environment": []}', "not an object of strings"),
        ('{"Environment": {"Error": {"ErrorCode": "AccessDeniedException"}}}', "could not decrypt the variables"),
        ('{"Variables": {"A=B": "x", "": "y", "C": "ok"}}', "no process can have the variables 'A=B', '';"),
        ('{"Variables": {"A": "x\\u0000y", "B": "\\ud800"}}', "no process can have the variables 'A', 'B';"),
        ("A=x\0y", "no process can have the variables 'A';"),
        ("[" * 5, "line 1 is not NAME=VALUE"),
        ('{"Variables":' * 100_000, "it has more than 1048576 bytes"),
        ('{"Variables":' * 50_000, "it is not valid JSON"),
    ],
)
def test_a_file_without_settings_is_an_error_with_status_2(text: str, message: str) -> None:
    """The message names the file and the reason, and no value of it."""
    done = check({}, "--settings", "-", stdin=text)
    assert done.status == 2
    assert "cannot read stdin: " in done.output
    assert message in done.output


@pytest.mark.parametrize("name", ["absent.env", ".", "binary"])
def test_a_file_that_cannot_be_read_is_an_error_with_status_2(name: str, tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    done = check({}, "--settings", str(tmp_path / name))
    assert done.status == 2
    assert f"cannot read {tmp_path / name}" in done.output.replace("\n", "")
