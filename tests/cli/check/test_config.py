"""The configuration file, and references to SSM parameters and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.check_runs import check, refusing, s3_that
from support.parameter_server import fault, parameter_server

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "secret-of-the-parameter"  # noqa: S105 - known to this test only


def test_a_configuration_file_is_read_and_its_mistakes_name_the_file(tmp_path: Path) -> None:
    """The variable of the function has a path in its environment, and the option a local copy."""
    file = tmp_path / "logferry.toml"
    file.write_text(f'destination = "file://{tmp_path}/out"\nflush = "time"\nmask = ["email"]\n')
    by_variable = check({"LOGFERRY_CONFIG": str(file)})
    by_option = check({"LOGFERRY_CONFIG": "/var/task/logferry.toml"}, "--config", str(file))
    for done in (by_variable, by_option):
        assert done.status == 0, done.output
        assert done.steps["settings"]["detail"] == "valid; flush time, compression gzip; set: CONFIG, MASK"
        assert done.steps["put"]["detail"].startswith(f"{tmp_path}/out/")
        assert f'"destination": "file://{tmp_path}/out"' in done.output
    file.write_text('destination = "file:///tmp/out"\nflush = "never"\nenabled = 5\n')
    wrong = check({}, "--config", str(file))
    assert (wrong.status, list(wrong.steps)) == (1, ["settings"])
    assert all(str(file) in note for note in wrong.steps["settings"]["notes"])
    missing = check({"LOGFERRY_CONFIG": "/var/task/absent.toml"}, f"file://{tmp_path}/out")
    assert "/var/task/absent.toml" in missing.steps["settings"]["notes"][0]
    assert "give a local copy with --config" in missing.steps["settings"]["remedy"]
    assert "--config" not in wrong.steps["settings"]["remedy"]


def test_a_disabled_extension_in_the_file_is_a_warning(tmp_path: Path) -> None:
    """The supervisor reads this setting from the file too."""
    file = tmp_path / "logferry.toml"
    file.write_text("enabled = false\n")
    done = check({}, f"file://{tmp_path}/out", "--config", str(file))
    assert (done.status, done.steps["settings"]["status"]) == (0, "warning")


def test_references_are_resolved_and_their_values_are_not_shown() -> None:
    """The canary is signed with the secret key of the parameter."""
    with parameter_server() as server, s3_that(refusing({})) as (environment, requests):
        server.parameters["/logs/destination"] = ["s3://my-log-bucket/logs"]
        server.parameters["/logs/key"] = [SECRET]
        given = server.environ | {
            "LOGFERRY_S3_ENDPOINT_URL": environment["AWS_ENDPOINT_URL_S3"],
            "LOGFERRY_DESTINATION": "ssm:/logs/destination",
            "LOGFERRY_S3_ACCESS_KEY_ID": "store-key-id",
            "LOGFERRY_S3_SECRET_ACCESS_KEY": "ssm:/logs/key",
        }
        done = check(given)
    assert done.status == 0, done.output
    assert done.steps["references"]["detail"].startswith("2 values resolved: ssm:/logs/")
    assert any(text.startswith("PUT /my-log-bucket/logs/_logferry_check/") for text in requests.texts)
    assert '"destination": "s3://my-log-bucket/logs"' in done.output
    assert SECRET not in done.output


def test_a_reference_that_cannot_be_resolved_fails_with_the_missing_permission() -> None:
    """The message is that of the extension."""
    with parameter_server() as server:
        sentence = "User is not authorized to perform: ssm:GetParameters on resource: x"
        server.permanent_fault = fault(400, "AccessDeniedException", sentence)
        done = check(server.environ | {"LOGFERRY_DESTINATION": "ssm:/logs/destination"})
    assert (done.status, done.steps["references"]["status"]) == (1, "failed")
    assert "ssm:GetParameters" in done.steps["references"]["detail"] + done.steps["references"]["remedy"]
    assert "put" not in done.steps


def test_a_mistake_in_the_value_of_a_reference_does_not_show_the_value() -> None:
    """A parameter can contain anything."""
    with parameter_server() as server:
        server.parameters["/logs/destination"] = [SECRET]
        done = check(server.environ | {"LOGFERRY_DESTINATION": "ssm:/logs/destination"})
    assert (done.status, done.steps["references"]["status"]) == (1, "failed")
    assert "LOGFERRY_DESTINATION is not valid" in done.steps["references"]["notes"][0]
    assert SECRET not in done.output


def test_a_configuration_file_is_no_file_of_variables(tmp_path: Path) -> None:
    """The two options are easily confused."""
    done = check({}, "--settings", str(tmp_path / "logferry.toml"))
    assert done.status == 2
    assert "--config" in done.output


def test_references_need_credentials() -> None:
    """Without credentials nothing is sent."""
    done = check({"LOGFERRY_DESTINATION": "ssm:/logs/destination", "AWS_REGION": "eu-central-1"})
    assert (done.status, done.steps["credentials"]["status"]) == (1, "failed")
    assert "put" not in done.steps
