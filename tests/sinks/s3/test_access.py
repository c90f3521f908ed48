"""Access to S3 with a role, or with separate credentials, region and endpoint, through both clients."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from logferry import log
from logferry.aws import assumed_role
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.sinks.named_settings import NamedSettingsSink
from logferry.sinks.s3 import sdk, sdk_clock
from logferry.sinks.s3.sink import S3Sink
from support.moto_s3 import REGION, moto_s3
from support.s3_stub import OBJECT, OK, answering, s3_at, s3_error, server_that, sink_of_settings
from support.sts_stub import EXTERNAL_ID, ROLE_ARN, response, sts_error, sts_stub

if TYPE_CHECKING:
    from logferry.emulator.s3_server import S3Server

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

CLIENTS = pytest.mark.parametrize("client", ["auto", "sdk"], ids=["own", "sdk"])
ROLE = {"S3_ROLE_ARN": ROLE_ARN, "S3_ROLE_EXTERNAL_ID": EXTERNAL_ID}
SEPARATE = {"S3_ACCESS_KEY_ID": "separate", "S3_SECRET_ACCESS_KEY": "separate-secret"}
EXPIRED = s3_error("400 Bad Request", "ExpiredToken", message="The provided token has expired.")
DENIED = sts_error("403 Forbidden", "AccessDenied", "User: u is not authorized to perform: sts:AssumeRole on: r")


def signed_with(authorizations: list[str]) -> list[tuple[str, str]]:
    """Return access key ID and region of each signature."""
    scopes = [value.partition("Credential=")[2].split("/") for value in authorizations]
    return [(scope[0], scope[2]) for scope in scopes]


# --- a role


@CLIENTS
async def test_objects_are_stored_with_the_credentials_of_the_role(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The function's credentials are those of the caller of STS, and of no request to S3."""
    async with sts_stub() as stub:
        with server_that(answering(OK)) as (environment, requests):
            environment |= {"AWS_ENDPOINT_URL_STS": stub.url, "AWS_LAMBDA_FUNCTION_NAME": "orders"}
            sink = sink_of_settings(environment, monkeypatch, client=client, **ROLE)
            assert stub.forms == []
            await sink.put(OBJECT)
            await sink.put(OBJECT)
        assert signed_with(requests.values("authorization")) == [("ASIAROLE1", "us-east-1")] * 2
        assert requests.values("x-amz-security-token") == ["role+token/1=="] * 2
        assert stub.callers() == ["key"]
        (form,) = stub.forms
        assert (form["RoleArn"], form["ExternalId"]) == (ROLE_ARN, EXTERNAL_ID)
        assert (form["RoleSessionName"], form["DurationSeconds"]) == ("logferry-orders", "3600")


@CLIENTS
async def test_role_is_assumed_again_if_its_credentials_have_expired(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """S3 rejects them, and the same put continues with new ones."""
    async with sts_stub() as stub:
        with server_that(answering(EXPIRED, OK)) as (environment, requests):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            await sink.put(OBJECT)
    assert requests.values("x-amz-security-token") == ["role+token/1==", "role+token/2=="]


@CLIENTS
async def test_redirect_and_clock_are_corrected_with_a_role(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The corrections of S3 do not depend on the source of the credentials."""
    monkeypatch.setattr(sdk_clock, "_offset", dt.timedelta(0))
    moved = s3_error("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n")
    date = formatdate(time.time() + 7200, usegmt=True)
    skewed = s3_error("403 Forbidden", "RequestTimeTooSkewed", f"Date: {date}\r\n")
    async with sts_stub() as stub:
        with server_that(answering(moved, skewed, OK)) as (environment, requests):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            await sink.put(OBJECT)
        assert len(stub.forms) == 1
    regions = [region for _, region in signed_with(requests.values("authorization"))]
    assert regions == ["us-east-1", "eu-west-1", "eu-west-1"]


@CLIENTS
async def test_refused_role_is_rejected_with_the_remedy(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The message names destination, role and policies, and no request is sent to S3."""
    async with sts_stub() as stub:
        stub.always = DENIED
        with server_that(answering(OK)) as (environment, requests):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            with pytest.raises(SinkRejected) as caught:
                await sink.put(OBJECT)
            assert len(requests) == 0
    message = str(caught.value)
    assert message.startswith(
        f"put s3://bucket/{OBJECT.key}: assume {ROLE_ARN} (LOGFERRY_S3_ROLE_ARN): 403 AccessDenied: "
    )
    assert (
        "trust policy of the role must allow the caller with the external ID of LOGFERRY_S3_ROLE_EXTERNAL_ID" in message
    )
    assert EXTERNAL_ID not in message


@CLIENTS
async def test_sts_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The remedy is that of STS."""
    environment = s3_at(9) | {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}
    sink = sink_of_settings(environment, monkeypatch, client=client, **ROLE)
    with pytest.raises(SinkUnavailable, match=r"LOGFERRY_S3_ROLE_ARN.*check AWS_ENDPOINT_URL_STS"):
        await sink.put(OBJECT)


@CLIENTS
async def test_failure_of_sts_ends_with_the_next_put(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """A transient fault leaves no state behind."""
    async with sts_stub() as stub:
        stub.answers = [sts_error("503 Service Unavailable", "ServiceUnavailable", "busy")]
        with server_that(answering(OK)) as (environment, requests):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            with pytest.raises(SinkUnavailable, match="503 ServiceUnavailable: busy"):
                await sink.put(OBJECT)
            await sink.put(OBJECT)
        assert requests.values("x-amz-security-token") == ["role+token/2=="]


@CLIENTS
@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (response("200 OK", "<html><body>Sign in</body></html>"), SinkUnavailable, "not a response of STS"),
        (response("200 OK", "<html><br>"), SinkUnavailable, "not a response of STS"),
        (response("200 OK", "<SecretAccessKey>hidden"), SinkUnavailable, "not a response of STS"),
        (response("502 Bad Gateway", "<html>"), SinkUnavailable, "502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", SinkUnavailable, ""),
        (sts_error("400 Bad Request", "ValidationError", "1 error"), SinkRejected, "correct LOGFERRY_S3_ROLE_ARN"),
        (sts_error("403 Forbidden", "ExpiredToken", "expired"), SinkRejected, "credentials of the caller have expired"),
    ],
    ids=["page", "broken page", "cut", "502", "ssh", "400", "expired"],
)
async def test_fault_of_sts_is_classified(
    monkeypatch: pytest.MonkeyPatch, client: str, fault: bytes, error: type[Exception], message: str
) -> None:
    """Wait, or change something; the class is the same for both clients."""
    async with sts_stub() as stub:
        stub.always = fault
        environment = s3_at(9) | {"AWS_ENDPOINT_URL_STS": stub.url}
        sink = sink_of_settings(environment, monkeypatch, client=client, **ROLE)
        with pytest.raises(error, match=rf"assume {ROLE_ARN} \(LOGFERRY_S3_ROLE_ARN\): .*{message}") as caught:
            await sink.put(OBJECT)
        assert "hidden" not in str(caught.value)


@CLIENTS
async def test_slow_sts_is_unavailable_within_its_limit(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The limit does not depend on the upload timeout."""
    monkeypatch.setattr(assumed_role, "RESPONSE_SECONDS", 0.2)
    monkeypatch.setattr(sdk, "STS_RESPONSE_SECONDS", 0.2)
    async with sts_stub() as stub:
        stub.delay = 30
        environment = s3_at(9) | {"AWS_ENDPOINT_URL_STS": stub.url}
        sink = sink_of_settings(environment, monkeypatch, client=client, **ROLE)
        began = time.monotonic()
        with pytest.raises(SinkUnavailable, match="LOGFERRY_S3_ROLE_ARN"):
            await sink.put(OBJECT)
        assert time.monotonic() - began < 20


@CLIENTS
async def test_clock_is_corrected_by_sts(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The clock of the environment is an hour fast, as STS shows; the credentials remain valid."""
    monkeypatch.setattr(sdk_clock, "_offset", dt.timedelta(0))
    date = formatdate(time.time() - 3600, usegmt=True)
    sentence = "Signature not yet current: 1 is still later than 2"
    async with sts_stub() as stub:
        stub.answers = [sts_error("403 Forbidden", "SignatureDoesNotMatch", sentence, f"Date: {date}\r\n")]
        stub.seconds = 0  # by the clock of STS this is in an hour
        with server_that(answering(OK)) as (environment, requests):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            for _ in range(2):
                await sink.put(OBJECT)
        assert requests.values("x-amz-security-token") == ["role+token/2=="] * 2


@CLIENTS
async def test_refusal_by_s3_names_the_role(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The permission is missing in the assumed role, not in that of the function."""
    async with sts_stub() as stub:
        with server_that(answering(s3_error("403 Forbidden", "AccessDenied"))) as (environment, _):
            sink = sink_of_settings(
                environment | {"AWS_ENDPOINT_URL_STS": stub.url}, monkeypatch, client=client, **ROLE
            )
            with pytest.raises(SinkRejected, match="allow s3:PutObject on it in the role of LOGFERRY_S3_ROLE_ARN"):
                await sink.put(OBJECT)


@CLIENTS
async def test_role_of_moto_stores_objects(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """A second implementation of STS accepts the request and gives credentials that S3 accepts."""
    with moto_s3() as moto:
        await moto.create_bucket(f"role-{client}")
        environment = moto.environment | {"AWS_ENDPOINT_URL_STS": moto.environment["AWS_ENDPOINT_URL_S3"]}
        sink = sink_of_settings(environment, monkeypatch, client=client, destination=f"s3://role-{client}/a", **ROLE)
        await sink.put(OBJECT)
        assert await moto.list_keys(f"role-{client}") == [f"a/{OBJECT.key}"]


# --- separate credentials, region and endpoint


@CLIENTS
async def test_separate_settings_replace_the_variables_of_the_function(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """The token of the function does not belong to the separate credentials; its variables keep their values."""
    with server_that(answering(OK)) as (environment, requests):
        url = environment["AWS_ENDPOINT_URL_S3"]
        function = {
            **s3_at(9),
            "AWS_SESSION_TOKEN": "token of the function",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
            "AWS_USE_FIPS_ENDPOINT": "true",
        }
        given = {"S3_REGION": "auto", "S3_ENDPOINT_URL": url}
        sink = sink_of_settings(function, monkeypatch, client=client, **SEPARATE, **given)
        await sink.put(OBJECT)
        assert {name: os.environ[name] for name in function} == function
    assert signed_with(requests.values("authorization")) == [("separate", "auto")]
    assert requests.values("x-amz-security-token") == [""]
    if client == "auto":
        assert isinstance(sink, NamedSettingsSink)
        assert isinstance(sink.sink, S3Sink)


@CLIENTS
async def test_separate_session_token_is_sent(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """Temporary credentials of a store have a token too."""
    with server_that(answering(OK)) as (environment, requests):
        token = {"S3_SESSION_TOKEN": "separate-token"}
        sink = sink_of_settings(
            environment | {"AWS_SESSION_TOKEN": "other"}, monkeypatch, client=client, **SEPARATE, **token
        )
        await sink.put(OBJECT)
    assert requests.values("x-amz-security-token") == ["separate-token"]


@CLIENTS
async def test_role_is_assumed_with_the_separate_credentials(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """Both settings can be combined."""
    async with sts_stub() as stub:
        with server_that(answering(OK)) as (environment, requests):
            environment |= {"AWS_ENDPOINT_URL_STS": stub.url}
            sink = sink_of_settings(environment, monkeypatch, client=client, **SEPARATE, **ROLE)
            await sink.put(OBJECT)
        assert stub.callers() == ["separate"]
    assert signed_with(requests.values("authorization")) == [("ASIAROLE1", "us-east-1")]


@CLIENTS
async def test_real_store_accepts_the_separate_credentials(
    monkeypatch: pytest.MonkeyPatch, s3: S3Server, bucket: str, client: str
) -> None:
    """The variables of the function are those of AWS, which the store does not know."""
    function = {"AWS_ACCESS_KEY_ID": "ASIAFUNCTION", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "y"}
    given = {
        "S3_ACCESS_KEY_ID": s3.shipper.access_key,
        "S3_SECRET_ACCESS_KEY": s3.shipper.secret_key,
        "S3_ENDPOINT_URL": s3.endpoint_url,
        "S3_REGION": "us-east-1",
    }
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    environment = function | {"AWS_REGION": "eu-central-1"}
    sink = sink_of_settings(environment, monkeypatch, client=client, destination=f"s3://{bucket}", **given)
    await sink.put(OBJECT)
    assert await s3.list_keys(bucket) == [OBJECT.key]


@CLIENTS
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"S3_ENDPOINT_URL": "http://nosuch.invalid:9"}, "check AWS_REGION, LOGFERRY_S3_ENDPOINT_URL and the DNS"),
        (
            {"S3_ENDPOINT_URL": "http://nosuch.invalid:9", "S3_REGION": "auto"},
            "check LOGFERRY_S3_REGION, LOGFERRY_S3_ENDPOINT_URL and the DNS",
        ),
        ({"S3_REGION": "eu-west-1"}, r"check AWS_ENDPOINT_URL_S3 and the route"),
    ],
)
async def test_message_names_the_variable_that_is_set(
    monkeypatch: pytest.MonkeyPatch, client: str, settings: dict[str, str], message: str
) -> None:
    """A person can change it."""
    sink = sink_of_settings(s3_at(9), monkeypatch, client=client, **settings)
    with pytest.raises(SinkUnavailable, match=message):
        await sink.put(OBJECT)


@CLIENTS
async def test_rejected_separate_credentials_are_named(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """No secret is in the message."""
    with server_that(answering(s3_error("403 Forbidden", "InvalidAccessKeyId"))) as (environment, _):
        sink = sink_of_settings(environment, monkeypatch, client=client, **SEPARATE)
        with pytest.raises(SinkRejected, match="check LOGFERRY_S3_ACCESS_KEY_ID and AWS_ENDPOINT_URL_S3") as caught:
            await sink.put(OBJECT)
    assert "separate-secret" not in str(caught.value)
    assert "separate-secret" not in repr(sink)


@CLIENTS
async def test_requested_delay_is_kept_with_a_named_setting(monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """The uploader waits as long as S3 requests."""
    busy = s3_error("503 Slow Down", "SlowDown", "Retry-After: 7\r\n")
    with server_that(answering(busy)) as (environment, _):
        sink = sink_of_settings(environment, monkeypatch, client=client, **SEPARATE)
        with pytest.raises(SinkUnavailable, match="SlowDown") as caught:
            await sink.put(OBJECT)
    assert caught.value.retry_after == 7


def test_reason_for_the_sdk_names_the_variable_that_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start that costs more has an explanation in the log."""
    monkeypatch.setattr(log, "_LOGGER", log.Logger())
    monkeypatch.setitem(sys.modules, "structlog", None)
    log.configure(level="info", as_json=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    environment = {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": REGION,
        "no_proxy": ".s3.example",
    }
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    sink_of_settings(environment, monkeypatch, S3_ENDPOINT_URL="https://minio.s3.example", **ROLE)
    assert f"reason='https_proxy applies to sts.{REGION}.amazonaws.com'" in capsys.readouterr().out


PROXIED = """
import asyncio, os
from types import SimpleNamespace
from logferry.settings import Settings
from logferry.shipper.upload_target import open_target
async def main():
    sink = open_target(Settings.from_environ(os.environ), os.environ).sink
    await sink.put(SimpleNamespace(key="k", body=b"b", metadata={}, content_type="t"))
    await sink.close()
asyncio.run(main())
"""


def test_sts_and_s3_are_reached_through_the_proxy() -> None:
    """The SDK is the client of both, because the own client uses no proxy."""
    from support.sts_stub import StsStub  # noqa: PLC0415 - its response only

    with server_that(answering(StsStub().credentials(), OK)) as (environment, requests):
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        settings = {
            "LOGFERRY_DESTINATION": "s3://bucket",
            **{f"LOGFERRY_{name}": value for name, value in ROLE.items()},
        }
        urls = {"AWS_ENDPOINT_URL_STS": "http://sts.example", "AWS_ENDPOINT_URL_S3": "http://s3.example"}
        proxy = {"HTTP_PROXY": environment["AWS_ENDPOINT_URL_S3"]}
        done = subprocess.run(
            [sys.executable, "-c", PROXIED], env=clean | environment | settings | urls | proxy,
            check=False, capture_output=True, text=True, timeout=50,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        heads = [head.split(" ")[:2] for head in requests.texts]
        assert heads == [["POST", "http://sts.example/"], ["PUT", "http://s3.example/bucket/k"]]
        assert requests.values("x-amz-security-token")[1] == "role+token/0=="
