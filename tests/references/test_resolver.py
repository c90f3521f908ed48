"""Resolution of references against stand-ins of SSM and Secrets Manager, with their faults, and against moto."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.references.grammar import find
from logferry.references.resolver import Resolver
from support.container_endpoint import container_endpoint
from support.parameter_server import KEYS, REGION, ParameterServer, fault, http_date, parameter_server
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.parameter_server import Fault

pytestmark = pytest.mark.timeout(60)

HIDDEN = "hidden-value"
"""Part of each stored value. It must be in no message."""


@pytest.fixture
def server() -> Iterator[ParameterServer]:
    """Serve SSM and Secrets Manager."""
    with parameter_server() as served:
        yield served


async def resolved(
    environ: Mapping[str, str], *texts: str, seconds: float = 20.0, resolver: Resolver | None = None
) -> dict[str, str]:
    """Return the values of references by their texts."""
    references, mistakes = find({f"S3_{number}": text for number, text in enumerate(texts)}, {})
    assert references
    assert mistakes == {}
    used = resolver or Resolver(references, environ, timeout_seconds=seconds)
    return {one.text: value for one, value in (await used.resolve()).items()}


async def failure(environ: Mapping[str, str], *texts: str, seconds: float = 20.0) -> SinkError:
    """Return the error of such a resolution, and assert that it shows neither a value nor a key."""
    with pytest.raises(SinkError) as caught:
        await resolved(environ, *texts, seconds=seconds)
    for secret in (HIDDEN, "secret-key", "session-token"):
        assert secret not in str(caught.value)
    return caught.value


async def test_parameters_are_read_ten_at_a_time(server: ParameterServer) -> None:
    """GetParameters accepts ten names."""
    server.parameters = {f"/logs/{number}": [f"value {number}\n"] for number in range(23)}
    texts = [f"ssm:/logs/{number}" for number in range(23)]
    assert await resolved(server.environ, *texts) == {f"ssm:/logs/{number}": f"value {number}" for number in range(23)}
    assert sorted({len(document["Names"]) for _, document in server.requests}) == [3, 10]
    assert all(document["WithDecryption"] is True for _, document in server.requests)


async def test_versions_and_arns_of_parameters_are_told_apart(server: ParameterServer) -> None:
    """A response has the name without the version."""
    server.parameters = {
        "/logs/a": ["first", "second", "third"],
        "arn:aws:ssm:eu-central-1:123456789012:parameter/b": ["b"],
    }
    arn = "ssm:arn:aws:ssm:eu-central-1:123456789012:parameter/b"
    found = await resolved(server.environ, "ssm:/logs/a", "ssm:/logs/a:1", "ssm:/logs/a:2")
    assert found == {"ssm:/logs/a": "third", "ssm:/logs/a:1": "first", "ssm:/logs/a:2": "second"}
    assert await resolved(server.environ, arn) == {arn: "b"}


async def test_one_request_returns_all_keys_of_a_secret(server: ParameterServer) -> None:
    """Each request costs time of the Init phase and money."""
    server.secrets = {
        "logs": {"SecretString": '{"token": " abc ", "port": 8080, "on": true}'},
        "raw": {"SecretString": "x\n"},
    }
    server.parameters = {"/p": ["y"]}
    texts = (
        "secretsmanager:logs#token",
        "secretsmanager:logs#port",
        "secretsmanager:logs#on",
        "secretsmanager:raw",
        "ssm:/p",
    )
    assert list((await resolved(server.environ, *texts)).values()) == ["abc", "8080", "true", "x", "y"]
    sent = {(service, str(document)) for service, document in server.requests}
    assert sorted(service for service, _ in sent) == ["secretsmanager", "secretsmanager", "ssm"]


@pytest.mark.parametrize(
    ("response", "kind", "parts"),
    [
        (
            fault(400, "AccessDeniedException", "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: …"),
            SinkRejected,
            ["allow ssm:GetParameters on it in the function's role"],
        ),
        (
            fault(400, "AccessDeniedException", "… with an explicit deny in a service control policy"),
            SinkRejected,
            ["allow ssm:GetParameters on it in the service control policy"],
        ),
        (
            fault(400, "AccessDeniedException", "The ciphertext refers to a customer master key …"),
            SinkRejected,
            ["allow kms:Decrypt on its KMS key"],
        ),
        (fault(403, "com.amazonaws.ssm#AccessDeniedException"), SinkRejected, ["403 AccessDeniedException; allow"]),
        (fault(400, "UnrecognizedClientException", "The token is invalid."), SinkRejected, ["AWS_ACCESS_KEY_ID"]),
        (fault(400, "InvalidKeyId"), SinkRejected, ["kms:Decrypt"]),
        (fault(400, "ThrottlingException", "Rate exceeded"), SinkUnavailable, ["ThrottlingException: Rate exceeded"]),
        (fault(500, "InternalServerError"), SinkUnavailable, ["500 InternalServerError"]),
        ((503, b"", {}), SinkUnavailable, ["503"]),
        ((404, b"<html>hidden-value</html>", {}), SinkRejected, ["not a response of SSM: check AWS_ENDPOINT_URL_SSM"]),
        ((200, b"<html>hidden-value", {}), SinkUnavailable, ["200 without a JSON object", "AWS_ENDPOINT_URL_SSM"]),
        ((200, b'["hidden-value"]', {}), SinkUnavailable, ["200 without a JSON object"]),
        ((200, b'{"Parameters": "hidden-value"}', {}), SinkRejected, ["SSM has no such parameter"]),
        ((200, b'{"Parameters": [{"Name": "/p", "Value": ["hidden-value"]}, "x"]}', {}), SinkRejected, ["no such"]),
        ((200, b'{"a": "hidden-value' + b"x" * 70_000 + b'"}', {}), SinkUnavailable, ["200 without a JSON object"]),
    ],
)  # fmt: skip
async def test_a_fault_of_ssm_has_its_cause_and_remedy(
    server: ParameterServer, response: Fault, kind: type[SinkError], parts: list[str]
) -> None:
    """Only a failure that later requests may not have is tried again soon."""
    server.permanent_fault = response
    error = await failure(server.environ, "ssm:/p")
    assert type(error) is kind
    assert str(error).startswith("ssm:/p (LOGFERRY_S3_0): ")
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize(
    ("secret", "reference", "part"),
    [
        (None, "secretsmanager:logs", "Secrets Manager can't find the specified secret; create it in this region"),
        ({"SecretBinary": "aGlkZGVuLXZhbHVl"}, "secretsmanager:logs", "the secret is not text; store it as a string"),
        ({"SecretString": HIDDEN}, "secretsmanager:logs#token", "the secret is not a JSON object; remove #token"),
        ({"SecretString": f'["{HIDDEN}"]'}, "secretsmanager:logs#token", "the secret is not a JSON object"),
        ({"SecretString": f'{{"a": "{HIDDEN}"}}'}, "secretsmanager:logs#token", "has no key 'token'; add it"),
        ({"SecretString": f'{{"token": ["{HIDDEN}"]}}'}, "secretsmanager:logs#token", "the key 'token' is not text"),
        ({"SecretString": '{"token": null}'}, "secretsmanager:logs#token", "the key 'token' is not text"),
    ],
)  # fmt: skip
async def test_a_secret_without_the_value_is_rejected(
    server: ParameterServer, secret: dict[str, Any] | None, reference: str, part: str
) -> None:
    """A person must correct the secret or the reference."""
    server.secrets = {"logs": secret} if secret else {}
    error = await failure(server.environ, reference)
    assert isinstance(error, SinkRejected)
    assert part in str(error)


async def test_all_failures_are_reported_at_once(server: ParameterServer) -> None:
    """A rejection among them decides when the next attempt is made."""
    server.parameters = {"/there": [HIDDEN]}
    server.secrets = {"logs": {"SecretString": "{}"}}
    environ = server.environ | {"AWS_ENDPOINT_URL_SSM": f"http://127.0.0.1:{server.port}"}
    other_region = "secretsmanager:arn:aws:secretsmanager:moon-1:123456789012:secret:x-AbCdEf"
    environ.pop("AWS_ENDPOINT_URL_SECRETS_MANAGER")
    error = await failure(environ, "ssm:/there", "ssm:/missing", "ssm:/there:9", other_region)
    assert isinstance(error, SinkRejected)
    assert "ssm:/missing (LOGFERRY_S3_1): SSM has no such parameter or version in this region" in str(error)
    assert "ssm:/there:9 (LOGFERRY_S3_2): SSM has no such parameter or version in this region" in str(error)
    assert f"{other_region} (LOGFERRY_S3_3): the region moon-1 is in no known partition" in str(error)


async def test_expired_credentials_are_renewed_within_the_resolution(server: ParameterServer) -> None:
    """Lambda renews the credentials at the container endpoint."""
    server.is_judge = False
    server.parameters = {"/p": ["value"]}
    server.faults = [fault(400, "ExpiredTokenException", "The security token included in the request is expired")]
    environ = {name: text for name, text in server.environ.items() if name not in KEYS}
    async with container_endpoint() as credentials:
        found = await resolved(environ | credentials.environ, "ssm:/p")
        assert credentials.requests == 2
    assert found == {"ssm:/p": "value"}


async def test_a_wrong_clock_is_corrected_once(server: ParameterServer) -> None:
    """A function cannot set its clock."""
    server.parameters = {"/p": ["value"]}
    late = fault(
        400,
        "InvalidSignatureException",
        "Signature expired: 20261130T120000Z is now earlier than …",
        Date=http_date(7200),
    )
    server.faults = [late]
    assert await resolved(server.environ, "ssm:/p") == {"ssm:/p": "value"}
    server.permanent_fault = late
    error = await failure(server.environ, "ssm:/p")
    assert isinstance(error, SinkUnavailable)
    assert "the clock of this environment differs" in str(error)
    assert 4 <= len(server.requests) <= 6, "one correction for each resolution"


async def test_a_slow_service_ends_within_the_limit(server: ParameterServer) -> None:
    """An invocation that waits for an upload must not wait longer."""
    server.delay_seconds = 60.0
    began = time.monotonic()
    error = await failure(server.environ, "ssm:/p", "secretsmanager:s", seconds=0.4)
    assert isinstance(error, SinkUnavailable)
    assert "no response within 0.3 s" in str(error) or "are not resolved within 0.4 s" in str(error)
    assert time.monotonic() - began < 30


async def test_a_closed_port_and_a_proxy_have_their_remedies(server: ParameterServer) -> None:
    """Both are reported before a value is known."""
    closed = server.environ | {"AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:1"}
    error = await failure(closed, "ssm:/p")
    assert isinstance(error, SinkUnavailable)
    assert "cannot connect to 127.0.0.1:1" in str(error)
    assert "check AWS_ENDPOINT_URL_SSM and the route of the VPC to SSM" in str(error)
    error = await failure(server.environ | {"HTTP_PROXY": "http://proxy.example.com:3128"}, "ssm:/p")
    assert isinstance(error, SinkRejected)
    assert "HTTP_PROXY applies to 127.0.0.1" in str(error)
    assert server.requests == []


async def test_an_untrusted_certificate_ends_the_resolution(server: ParameterServer, tmp_path: Path) -> None:
    """A value is never sent by a server whose identity is not verified."""
    certificate, key = make_certificate(tmp_path)
    with server.served_over_tls(certificate, key) as port:
        environ = server.environ | {"AWS_ENDPOINT_URL_SSM": f"https://localhost:{port}"}
        server.parameters = {"/p": [HIDDEN]}
        error = await failure(environ, "ssm:/p")
        assert "CERTIFICATE_VERIFY_FAILED" in str(error).upper().replace(" ", "_")
        assert server.requests == []
        assert await resolved(environ | {"AWS_CA_BUNDLE": certificate}, "ssm:/p") == {"ssm:/p": HIDDEN}


async def test_no_credentials_are_a_rejection(server: ParameterServer) -> None:
    """The function has no role."""
    environ = {name: text for name, text in server.environ.items() if name not in KEYS}
    error = await failure(environ, "ssm:/p")
    assert isinstance(error, SinkRejected)
    assert "the environment has no AWS credentials" in str(error)


async def test_moto_returns_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second implementation of both services: encrypted parameters, versions, labels, ARNs, and JSON keys."""
    for name, text in KEYS.items():
        monkeypatch.setenv(name, text)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        url = f"http://127.0.0.1:{moto.get_host_and_port()[1]}"
        ssm = boto3.client("ssm", endpoint_url=url, region_name=REGION)
        for value in ("s3://first/logs", "s3://second/logs"):
            ssm.put_parameter(Name="/logs/destination", Value=value, Type="SecureString", Overwrite=True)
        ssm.label_parameter_version(Name="/logs/destination", ParameterVersion=1, Labels=["live"])
        secrets = boto3.client("secretsmanager", endpoint_url=url, region_name=REGION)
        arn = secrets.create_secret(Name="logs/s3", SecretString='{"key": "abc"}')["ARN"]
        parameter_arn = ssm.get_parameter(Name="/logs/destination")["Parameter"]["ARN"]
        texts = (
            *("ssm:/logs/destination", "ssm:/logs/destination:1", "ssm:/logs/destination:live", f"ssm:{parameter_arn}"),
            *("secretsmanager:logs/s3#key", f"secretsmanager:{arn}#key", "secretsmanager:logs/s3"),
        )
        found = await resolved({"AWS_REGION": REGION, "AWS_ENDPOINT_URL": url} | KEYS, *texts)
    finally:
        moto.stop()
    second, first = "s3://second/logs", "s3://first/logs"
    assert [found[text] for text in texts] == [second, first, first, second, "abc", "abc", '{"key": "abc"}']
