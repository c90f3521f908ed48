"""References in the settings of the real extension: nothing is lost, and nothing is shown, while they fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in_s3, assert_exactly_once, environment, lines_of, own_messages
from support.parameter_server import KEYS, fault, parameter_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server
    from support.parameter_server import ParameterServer


@pytest.fixture
def server(s3: S3Server) -> Iterator[ParameterServer]:
    """Serve SSM and Secrets Manager. The function has the credentials of the S3 server's shipper for all of them."""
    with parameter_server() as served:
        served.credentials = _keys(s3)
        yield served


def _keys(s3: S3Server) -> dict[str, str]:
    return {name: text for name, text in s3.environment(s3.shipper).items() if name in KEYS}


def _settings(s3: S3Server, server: ParameterServer, **more: str) -> dict[str, str]:
    endpoints = {name: text for name, text in server.environ.items() if name.startswith("AWS_ENDPOINT_URL_")}
    variables = {"LOGFERRY_DESTINATION": "ssm:/logs/destination", "LOGFERRY_FLUSH": "invocation"}
    return {**s3.environment(s3.shipper), **endpoints, **variables, "LOGFERRY_LOG_LEVEL": "debug", **more}


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
async def test_records_are_stored_at_the_destination_of_a_parameter(
    tmp_path: Path, s3: S3Server, bucket: str, server: ParameterServer, log_format: str
) -> None:
    """The value is in no message of any level."""
    server.parameters = {"/logs/destination": [f"s3://{bucket}/hidden-prefix"]}
    async with environment(tmp_path, _settings(s3, server), log_format=log_format) as service:
        for number in range(3):
            await service.invoke({"marker": f"t{number}"})
        await service.shutdown()
    objects = await arrived_in_s3(s3, bucket)
    assert all(one.key.startswith("hidden-prefix/") for one in objects)
    assert_exactly_once(service, objects)
    assert server.requests
    for line in own_messages(service):
        assert "hidden-prefix" not in line
        assert bucket not in line


async def test_no_record_is_lost_while_references_fail_and_the_function_is_not_affected(
    tmp_path: Path, s3: S3Server, bucket: str, server: ParameterServer
) -> None:
    """Batches are answered and stored meanwhile, and the uploads begin when the parameter can be read."""
    server.parameters = {"/logs/destination": [f"s3://{bucket}/logs"]}
    server.permanent_fault = fault(500, "InternalServerError")
    async with environment(tmp_path, _settings(s3, server)) as service:
        for number in range(3):
            result = await service.invoke({"marker": f"t{number}"})
            assert result.status == "success"
        assert await arrived_in_s3(s3, bucket) == []
        server.permanent_fault = None
        end = await service.shutdown()
        assert end.killed == ()
    objects = await arrived_in_s3(s3, bucket)
    assert lines_of(objects) == ["t0-0", "t1-0", "t2-0"]
    assert_exactly_once(service, objects)
    failures = [line for line in own_messages(service) if "an upload failed" in line and "warning" in line]
    assert len(failures) == 1
    assert "ssm:/logs/destination (LOGFERRY_DESTINATION): SSM responded 500 InternalServerError" in failures[0]


async def test_a_missing_permission_and_a_missing_key_are_reported_once_with_their_remedies(
    tmp_path: Path, s3: S3Server, bucket: str, server: ParameterServer
) -> None:
    """The records stay in the spool, and the next environment in the same /tmp stores them."""
    server.permanent_fault = fault(400, "AccessDeniedException", "User is not authorized to perform: ssm:GetParameters")
    file = tmp_path / "logferry.toml"
    file.write_text('[s3]\ntags = { cost = "secretsmanager:logs#cost" }\n')
    async with environment(tmp_path, _settings(s3, server, LOGFERRY_CONFIG=str(file))) as service:
        for number in range(2):
            assert (await service.invoke({"marker": f"t{number}"})).status == "success"
        await service.shutdown()
    first = service.records_delivered
    failures = [line for line in own_messages(service) if "an upload failed" in line and "warning" in line]
    assert len(failures) == 1
    assert "allow ssm:GetParameters on it in the function's role" in failures[0]
    assert f"secretsmanager:logs#cost (s3.tags in {file})" in failures[0]
    assert "allow secretsmanager:GetSecretValue on it in the function's role" in failures[0]
    server.permanent_fault = None
    server.parameters = {"/logs/destination": [f"s3://{bucket}/logs"]}
    server.secrets = {"logs": {"SecretString": '{"cost": "hidden"}'}}
    async with environment(tmp_path, _settings(s3, server, LOGFERRY_CONFIG=str(file))) as service:
        await service.invoke({"marker": "second"})
        await service.shutdown()
    objects = await arrived_in_s3(s3, bucket)
    assert lines_of(objects) == ["t0-0", "t1-0", "second-0"]
    assert sum(len(one.records) for one in objects) == len(first) + len(service.records_delivered)
    assert "hidden" not in "".join(own_messages(service))


async def test_the_secret_key_of_a_compatible_store_comes_from_a_secret_and_is_never_shown(
    tmp_path: Path, s3: S3Server, bucket: str, server: ParameterServer
) -> None:
    """The function has other credentials, which sign the request for the secret."""
    server.credentials = KEYS
    store = s3.environment(s3.shipper)
    file = tmp_path / "logferry.toml"
    file.write_text(
        f"""
destination = "s3://{bucket}/logs"
flush = "invocation"
log_level = "debug"

[s3]
endpoint_url = "{store["AWS_ENDPOINT_URL_S3"]}"
region = "{store["AWS_REGION"]}"
access_key_id = "{store["AWS_ACCESS_KEY_ID"]}"
secret_access_key = "secretsmanager:store#secret"
"""
    )
    settings = {**server.environ, "LOGFERRY_DESTINATION": "", "LOGFERRY_CONFIG": str(file)}
    server.secrets = {"store": {"SecretString": json.dumps({"secret": "wrong-secret-key"})}}
    async with environment(tmp_path, settings) as service:
        await service.invoke({"marker": "t0"})
        await service.shutdown()
    messages = "".join(own_messages(service))
    assert "SignatureDoesNotMatch" in messages
    assert "wrong-secret-key" not in messages
    server.secrets = {"store": {"SecretString": json.dumps({"secret": store["AWS_SECRET_ACCESS_KEY"]})}}
    async with environment(tmp_path, settings) as service:
        await service.invoke({"marker": "t1"})
        await service.shutdown()
    assert lines_of(await arrived_in_s3(s3, bucket)) == ["t0-0", "t1-0"]
    assert store["AWS_SECRET_ACCESS_KEY"] not in "".join(own_messages(service))


async def test_a_snapshot_has_no_value(tmp_path: Path, s3: S3Server, bucket: str, server: ParameterServer) -> None:
    """With SnapStart, the references are resolved after the restore."""
    server.parameters = {"/logs/destination": [f"s3://{bucket}/logs"]}
    settings = _settings(s3, server)
    async with environment(tmp_path, settings, initialization_type="snap-start") as service:
        await service.start()
        await service.wait_idle()
        assert server.requests == []
        await service.invoke({"marker": "t0"})
        await service.shutdown()
    assert lines_of(await arrived_in_s3(s3, bucket)) == ["t0-0"]
    assert server.requests
