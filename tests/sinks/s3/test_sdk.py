"""The sink through the AWS SDK: when it is chosen, how it verifies names, proxies and S3 Express."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiobotocore.httpsession import AIOHTTPSession

from logferry import log
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client import tls
from logferry.sinks.s3 import open_sink, sdk
from logferry.sinks.s3.sdk import MISLEADING, S3SdkSink
from logferry.sinks.s3.sdk_session import VerifyingSession, check_overridden_names
from logferry.sinks.s3.sink import S3Sink
from support.s3_stub import OBJECT, OK, answering, cancel_put_in_flight, close, s3_error, s3_sink, server_that, status
from support.tls_server import tls_server

if TYPE_CHECKING:
    import socket

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
SEVERAL_REGIONS = "AWS_SIGV4A_SIGNING_REGION_SET is set (signature for several regions)"
BUSY = s3_error("503 Slow Down", "SlowDown")
EXPRESS = "logs--euc1-az1--x-s3"
SESSION = status(
    "200 OK",
    b"<CreateSessionResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>"
    b"<AccessKeyId>a</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>",
)


# --- which client


def test_open_sink_returns_the_own_client_for_the_common_configuration() -> None:
    """Static credentials and a region."""
    assert isinstance(open_sink("bucket", "", KEYS, 1.0), S3Sink)


@pytest.mark.parametrize(
    ("environ", "client", "reason"),
    [
        (KEYS, "sdk", "LOGFERRY_S3_CLIENT=sdk"),
        (KEYS | {"AWS_SIGV4A_SIGNING_REGION_SET": "*"}, "auto", SEVERAL_REGIONS),
    ],
)
@pytest.mark.parametrize("level", ["info", "warning"])
def test_open_sink_logs_the_reason_for_the_sdk_once_at_level_info(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    environ: dict[str, str],
    client: str,
    reason: str,
    level: str,
) -> None:
    """A start that costs more has an explanation in the log, in logferry's form and without structlog."""
    monkeypatch.setattr(log, "_LOGGER", log.Logger())
    monkeypatch.setitem(sys.modules, "structlog", None)
    log.configure(level=level, as_json=False)
    assert isinstance(open_sink("bucket", "", environ, 1.0, client), S3SdkSink)
    line = f"logferry info: the AWS SDK is the S3 client (reason={reason!r})\n"
    assert capsys.readouterr().out == (line if level == "info" else "")


async def test_open_sink_without_the_sdk_rejects_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slim layer does not contain the SDK, and the shipper still starts."""
    monkeypatch.setitem(sys.modules, "logferry.sinks.s3.sdk", None)
    sink = open_sink(EXPRESS, "", KEYS, 1.0)
    await sink.connect()
    with pytest.raises(
        SinkRejected, match=r"--x-s3 .*so the AWS SDK is needed, but it cannot be imported .*full layer"
    ):
        await sink.put(OBJECT)


LOADED = """
import os, sys
from logferry.sinks.s3 import open_sink
open_sink("bucket", "", os.environ, 1.0)
print(*sorted(sys.modules))
"""
ACCESS = {
    *("aws.assumed_role", "aws.role", "aws.sts", "aws.variable_names", "options", "options.s3_access"),
    *("sinks.s3.access_point", "sinks.s3.existing_object", "sinks.named_settings"),
}
NOT_LOADED = {"aiohttp", "aioboto3", "botocore", "structlog", "dataclasses", "urllib.parse", "pathlib", "email", "xml"}


def test_own_client_imports_no_library_that_it_does_not_need() -> None:
    """Each import costs CPU time in every execution environment; asyncio and httptools bring some of their own."""
    baseline = "import asyncio, ssl, httptools, hashlib, hmac, base64, zlib, re, sys; print(*sorted(sys.modules))"
    environment = KEYS | {"PATH": os.defpath}
    ours, theirs = (
        set(subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
            .stdout.split())
        for code in (LOADED, baseline)
    )  # fmt: skip
    added = {name for name in ours - theirs if not name.startswith("logferry")}
    assert added == {"__future__"}
    assert not NOT_LOADED & (ours - theirs)
    assert not {f"logferry.{name}" for name in ACCESS} & ours, "a role or separate credentials are not set"


# --- names in certificates


def test_overridden_names_exist_in_aiobotocore() -> None:
    """The import fails if a version of aiobotocore renames them, because names would not be verified."""
    check_overridden_names(AIOHTTPSession)
    with pytest.raises(ImportError, match="_get_ssl_context, _setup_proxy_ssl_context"):
        check_overridden_names(object)
    own = {name for name in vars(VerifyingSession) if name.startswith("_") and not name.startswith("__")}
    assert own == {"_get_ssl_context", "_setup_proxy_ssl_context"}


def test_certificates_are_verified_behind_a_proxy(tmp_path: Path) -> None:
    """Aiobotocore does not verify certificates behind a proxy without a bundle for the proxy."""
    session = VerifyingSession(verify=True)
    context = session._setup_proxy_ssl_context("http://proxy.example:3128")
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    bundle = tmp_path / "ca.pem"
    bundle.write_text(Path(tls.AMAZON_ROOTS).read_text())
    session = VerifyingSession(verify=True, proxies_config={"proxy_ca_bundle": str(bundle)})
    assert session._setup_proxy_ssl_context("http://proxy.example:3128").verify_mode == ssl.CERT_REQUIRED


async def test_next_put_trusts_the_complete_bundle_if_aws_has_a_root_that_is_not_amazons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Uploads continue after AWS has introduced a new root."""
    with tls_server(tmp_path) as (environment, certificate, requests):
        monkeypatch.setattr("aiobotocore.httpsession.get_cert_path", lambda v: certificate if v is True else v)
        sink = s3_sink(environment, "bucket", monkeypatch, client="sdk")
        sink._roots = tls.AMAZON_ROOTS  # type: ignore[attr-defined]
        with pytest.raises(SinkUnavailable, match="certificate"):
            await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"AWS_CA_BUNDLE": "/ca.pem"}, False),
        ({"AWS_ENDPOINT_URL_S3": "https://minio"}, False),
    ],
)
def test_amazon_roots_are_for_hosts_of_aws_only(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], *, expected: bool
) -> None:
    """The rule is that of the own client."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert sdk._is_host_of_amazon("eu-west-1", os.environ) is expected
    assert sdk._is_host_of_amazon("cn-north-1", os.environ) is False
    assert sdk._is_host_of_amazon(None, os.environ) is False


# --- configurations that only the SDK covers


async def test_misleading_variables_of_the_function_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore would look for a profile, or reject the value."""
    with server_that(answering(OK)) as (environment, requests):
        monkeypatch.setattr("os.environ", dict(os.environ))
        misleading = dict.fromkeys(MISLEADING, "nonsense")
        sink = s3_sink(environment | misleading, "bucket", monkeypatch, client="sdk")
        await sink.put(OBJECT)
        await close(sink)
        assert len(requests) == 1


async def test_invalid_aws_variable_is_rejected_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK cannot make a client, and the message contains the cause."""
    with server_that(answering(OK)) as (environment, _):
        environment |= {"AWS_ENDPOINT_URL_S3": "https://s3_host:port"}
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkRejected, match=r"s3_host.*check the AWS_ variables"):
            await sink.put(OBJECT)


PROXIED = """
import asyncio, os
from types import SimpleNamespace
from logferry.sinks.s3 import open_sink
async def main():
    sink = open_sink("bucket", "", os.environ, 5)
    await sink.connect()
    await sink.put(SimpleNamespace(key="k", body=b"b", metadata={}, content_type="t"))
    await sink.close()
asyncio.run(main())
"""


def run_behind_proxy(proxy: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Store an object in a process whose proxy is the given one."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-c", PROXIED],
        env=clean | environment | {"HTTP_PROXY": proxy, "AWS_ENDPOINT_URL_S3": "http://s3.example"},
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def test_objects_go_through_the_proxy() -> None:
    """HTTP_PROXY applies to an endpoint with an http URL."""
    with server_that(answering(OK)) as (environment, requests):
        done = run_behind_proxy(environment["AWS_ENDPOINT_URL_S3"], environment)
        assert done.returncode == 0, done.stderr
        assert [head.split(" ")[:2] for head in requests.texts] == [["PUT", "http://s3.example/bucket/k"]]


@pytest.mark.parametrize(
    ("proxy", "named"),
    [
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("http://nosuch.invalid:3128", "cannot resolve nosuch.invalid (port 3128)"),
    ],
    ids=["refused", "unresolvable"],
)
def test_proxy_that_cannot_be_reached_is_named(proxy: str, named: str) -> None:
    """The message contains the proxy's address and the variables, and no remedy for S3's host."""
    done = run_behind_proxy(proxy, dict(KEYS))
    (message,) = (line for line in done.stderr.splitlines() if line.startswith("logferry.errors.SinkUnavailable"))
    assert named in message
    assert message.endswith("check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")


async def test_express_bucket_is_used_in_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 Express signs with the credentials of a session; no request is made before there is an object."""
    with server_that(answering(SESSION, OK)) as (environment, requests):
        sink = s3_sink(environment, EXPRESS, monkeypatch)
        await sink.connect()
        assert requests.texts == []
        await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)
    assert [head.split()[0] for head in requests.texts] == ["GET", "PUT", "PUT"]
    assert requests.values("x-amz-s3session-token") == ["", "t", "t"]


async def test_express_session_is_requested_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiobotocore would raise the same failure indefinitely."""
    with server_that(answering(BUSY, SESSION, OK)) as (environment, _):
        sink = s3_sink(environment, EXPRESS, monkeypatch)
        with pytest.raises(SinkUnavailable):
            await sink.put(OBJECT)
        await sink.put(OBJECT)
        await close(sink)


async def test_replaced_clients_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is replaced after each failure of an outage does not use memory and sockets any longer."""
    with server_that(answering(BUSY)) as (environment, _):
        sink = s3_sink(environment, EXPRESS, monkeypatch)
        assert isinstance(sink, S3SdkSink)
        for _ in range(3):
            with pytest.raises(SinkUnavailable):
                await sink.put(OBJECT)
        assert len(sink._stack._exit_callbacks) <= 1  # type: ignore[attr-defined]  # contextlib's list of open clients
        await close(sink)


async def test_message_contains_no_password_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy refuses, and the libraries repeat its URL."""
    with server_that(answering(status("407 Proxy Authentication Required"))) as (environment, _):
        proxy = environment.pop("AWS_ENDPOINT_URL_S3").replace("http://", "http://user:confidential@")
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        sink = s3_sink(environment, "bucket", monkeypatch)
        with pytest.raises(SinkUnavailable) as caught:
            await sink.put(OBJECT)
        await close(sink)
    assert "confidential" not in str(caught.value)
    assert "dXNlcjpjb25maWRlbnRpYWw" not in str(caught.value)


async def test_express_session_is_requested_again_after_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiobotocore would cancel every later request."""

    def behave(connection: socket.socket, number: int) -> bool:
        return number == 1 or answering(b"", SESSION, OK)(connection, number)

    with server_that(behave) as (environment, requests):
        sink = s3_sink(environment, EXPRESS, monkeypatch)
        await cancel_put_in_flight(sink, requests)
        await sink.put(OBJECT)
        await close(sink)
