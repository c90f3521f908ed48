"""The AssumeRole request equals botocore's; its responses and errors are read without a secret in a message."""

from __future__ import annotations

import datetime as dt
import itertools
import os
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.session
import pytest
from botocore.config import Config
from botocore.handlers import add_retry_headers

from logferry.aws import sts
from logferry.aws.assumed_role import AssumedRole
from logferry.aws.credentials import CredentialSource
from logferry.aws.role import MAX_SESSION_NAME, Role, default_session_name
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import Response
from support.sts_stub import EXTERNAL_ID, ROLE_ARN, StsStub

MOMENT = 1_795_000_000
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
UNSIGNED = frozenset({"user-agent", "accept-encoding"})
REGIONS = ["us-east-1", "us-west-2", "eu-central-1", "eu-south-2", "ap-southeast-7", "us-gov-west-1", "cn-north-1"]
ROLE = Role(ROLE_ARN, "logferry-orders", EXTERNAL_ID, "eu-central-1")


CREDENTIALS = StsStub().credentials().partition(b"\r\n\r\n")[2]


class _Body:
    """The body of a response."""

    def stream(self, **_: object) -> list[bytes]:
        """Return credentials."""
        return [CREDENTIALS]


def botocore_request(role: Role, environ: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
    """Return URL, headers and body of botocore's request."""
    with mock.patch.dict(os.environ, environ, clear=True):
        session = botocore.session.Session()
        client = session.create_client(
            "sts",
            region_name=role.region,
            endpoint_url=role.sts_url or None,
            config=Config(use_fips_endpoint=role.fips, use_dualstack_endpoint=role.dualstack),
        )
        client._request_signer._credentials.get_frozen_credentials()
    client.meta.events.unregister("request-created", add_retry_headers)
    sent: list[Any] = []

    def capture(request: Any, **_: object) -> Any:
        sent.append(request)
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, _Body())

    client.meta.events.register("before-send", capture)
    now = dt.datetime.fromtimestamp(MOMENT, dt.UTC).replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        client.assume_role(**sts.parameters(role))
    (request,) = sent
    headers = {name.lower(): v.decode() if isinstance(v, bytes) else v for name, v in request.headers.items()}
    body = request.body if isinstance(request.body, bytes) else request.body.encode()
    return request.url, {name: value for name, value in headers.items() if name not in UNSIGNED}, body


async def own_request(role: Role, environ: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
    """Return URL, headers and body of logferry's request."""
    sent: list[Any] = []

    async def capture(_client: object, method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
        sent.append((path, headers, body))
        assert method == "POST"
        return Response(200, {}, CREDENTIALS)

    with mock.patch.object(HttpClient, "request", capture):
        await AssumedRole(role, CredentialSource(environ), environ, wall_clock=lambda: float(MOMENT)).get()
    ((path, headers, body),) = sent
    scheme = "https" if sts.address_of(role).tls else "http"
    url = f"{scheme}://{headers['host']}{path}"
    return url, {name: value for name, value in headers.items() if name not in UNSIGNED | {"host"}}, body


ROLES = [
    ROLE._replace(region=region, fips=fips, dualstack=dualstack)
    for region, fips, dualstack in itertools.product(REGIONS, (False, True), (False, True))
    if not (fips and region == "cn-north-1")
] + [
    ROLE._replace(sts_url="http://127.0.0.1:4566"),
    ROLE._replace(sts_url="https://vpce-0123-abcd.sts.eu-central-1.vpce.amazonaws.com/"),
    ROLE._replace(sts_url="https://sts.example.com:8443/base"),
    ROLE._replace(sts_url="https://sts.example.com/base/"),
    ROLE._replace(external_id="", session_name="a+b=c,d.e@f-g_h"),
    ROLE._replace(external_id="a+b=c,d.e@f:g/h-i_j", arn="arn:aws:iam::210987654321:role/path/+=,.@_-/name"),
]


@pytest.mark.parametrize("role", ROLES, ids=str)
@pytest.mark.parametrize("token", ["", "token/with+signs=="])
async def test_request_equals_botocores(role: Role, token: str) -> None:
    """Address, body, signed headers and signature are the same."""
    environ = KEYS | ({"AWS_SESSION_TOKEN": token} if token else {})
    assert sts.needs_sdk(role, environ) is None
    url, headers, body = await own_request(role, environ)
    their_url, their_headers, their_body = botocore_request(role, environ)
    assert urlsplit(url)._replace(path="") == urlsplit(their_url)._replace(path="")
    assert body == their_body
    assert urlsplit(url).path == (urlsplit(their_url).path or "/")
    assert headers == their_headers


@pytest.mark.parametrize(
    ("role", "environ", "reason"),
    [
        (ROLE._replace(region="us-iso-east-1"), {}, "no plain endpoint of STS is known for the region us-iso-east-1"),
        (ROLE._replace(region=""), {}, "no plain endpoint of STS"),
        (ROLE._replace(region="cn-north-1", fips=True), {}, "no plain endpoint of STS"),
        (ROLE._replace(sts_url="https://user:secret@sts.example"), {}, "no plain endpoint of STS"),
        (ROLE, {"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY applies to sts.eu-central-1.amazonaws.com"),
        (ROLE._replace(sts_url="http://sts.example:80"), {"http_proxy": "http://p:1"}, "http_proxy applies to sts."),
    ],
)  # fmt: skip
def test_needs_sdk_names_the_reason(role: Role, environ: dict[str, str], reason: str) -> None:
    """The own client covers plain endpoints without a proxy."""
    found = str(sts.needs_sdk(role, environ))
    assert reason in found
    assert "secret" not in found
    assert sts.needs_sdk(ROLE, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".amazonaws.com"}) is None


def test_address_is_never_guessed() -> None:
    """A region of an unknown partition has no address."""
    with pytest.raises(ValueError, match="us-iso-east-1"):
        sts.address_of(ROLE._replace(region="us-iso-east-1"))


def refusal(code: str, sentence: str = "", status: int = 403, role: Role = ROLE) -> SinkError:
    """Return the error for a response of STS."""
    return sts.classify(role, sts.StsError(status, code, sentence))


CALLER = "User: arn:aws:sts::123456789012:assumed-role/f/f is not authorized to perform: sts:AssumeRole on resource: r"


@pytest.mark.parametrize(
    ("sentence", "remedy"),
    [
        (CALLER, "the trust policy of the role must allow the caller with the external ID of LOGFERRY_S3_ROLE_EXT"),
        (f"{CALLER} because no identity-based policy allows the action", "role in the identity-based policy"),
        (f"{CALLER} because no permissions boundary allows the action", "in the permissions boundary"),
        (f"{CALLER} because no VPC endpoint policy allows the action", "in the VPC endpoint policy"),
        (f"{CALLER} because no resource-based policy allows the action", "trust policy"),
        (f"{CALLER} with an explicit deny in a service control policy", "deny statement of the service control policy"),
        (f"{CALLER} with an explicit deny in an identity-based policy", "deny statement of the identity-based policy"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_policy_to_change(sentence: str, remedy: str) -> None:
    """STS reports each missing permission as AccessDenied."""
    error = refusal("AccessDenied", sentence)
    assert isinstance(error, SinkRejected)
    assert str(error).startswith(f"assume {ROLE_ARN} (LOGFERRY_S3_ROLE_ARN): 403 AccessDenied: User: ")
    assert remedy in str(error)


def test_a_refusal_without_an_external_id_names_the_setting() -> None:
    """The trust policy of a third party's role usually requires one."""
    assert "requires an external ID, set LOGFERRY_S3_ROLE_EXTERNAL_ID" in str(
        refusal("AccessDenied", CALLER, role=ROLE._replace(external_id=""))
    )


@pytest.mark.parametrize(
    ("code", "status", "error", "message"),
    [
        ("InvalidClientTokenId", 403, SinkRejected, "check AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", 403, SinkRejected, "the secret key of the caller is wrong"),
        ("ExpiredToken", 403, SinkRejected, "the credentials of the caller have expired"),
        ("RegionDisabledException", 403, SinkRejected, "activate STS for this region"),
        ("ValidationError", 400, SinkRejected, "correct LOGFERRY_S3_ROLE_ARN"),
        ("SomethingNew", 400, SinkRejected, "see the errors of AssumeRole"),
        ("", 403, SinkRejected, "not a response of STS: check AWS_ENDPOINT_URL_STS and proxies"),
        ("Throttling", 400, SinkUnavailable, "400 Throttling"),
        ("InternalFailure", 500, SinkUnavailable, "500 InternalFailure"),
        ("", 503, SinkUnavailable, "503"),
        ("RequestExpired", 400, SinkUnavailable, "clock of this environment"),
    ],
)
def test_an_error_has_its_class_and_its_remedy(code: str, status: int, error: type[SinkError], message: str) -> None:
    """Wait, or change something."""
    found = refusal(code, status=status)
    assert type(found) is error
    assert message in str(found)


@pytest.mark.parametrize("start", ["Signature expired: 20261130T1", "Signature not yet current: 20261130T1"])
def test_a_clock_that_differs_is_recognized_by_the_sentence(start: str) -> None:
    """The code is that of a wrong secret key."""
    assert isinstance(refusal("SignatureDoesNotMatch", f"{start}25958Z is now earlier than 1"), SinkUnavailable)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no AccessKeyId and no SecretAccessKey"),
        (b"<html><body>Sign in</body></html>", "not a response of STS"),
        (b"<AccessKeyId>A</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey>", "no SessionToken and no Expiration"),
        (b"\xff\xfe", "not a response of STS"),
    ],
)
def test_a_response_without_credentials_is_unavailable(body: bytes, message: str) -> None:
    """The page of a proxy is no response of STS; no value is repeated."""
    with pytest.raises(SinkUnavailable, match=message) as caught:
        sts.parse_credentials(body)
    assert "hidden" not in str(caught.value)


def test_credentials_that_no_header_can_carry_are_rejected() -> None:
    """The message does not repeat them."""
    body = CREDENTIALS.replace(b"role/secret+0", "sécret".encode())
    with pytest.raises(SinkRejected, match="the secret key from STS is not printable ASCII") as caught:
        sts.parse_credentials(body)
    assert "cret\u00e9" not in str(caught.value)
    assert "sécret" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("orders", "logferry-orders"),
        ("my_function-1", "logferry-my_function-1"),
        ("a" * 64, "logferry-" + "a" * 55),
        ("bücher/$LATEST", "logferry-b-cher--LATEST"),
    ],
)
def test_the_default_session_name_has_the_function_and_valid_characters(function: str, name: str) -> None:
    """CloudTrail shows it."""
    assert default_session_name(function) == name
    assert len(name) <= MAX_SESSION_NAME
