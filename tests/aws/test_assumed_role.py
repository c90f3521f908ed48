"""Credentials of a role from a stub of STS: renewal, corrections, faults, limits."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from logferry.aws import assumed_role
from logferry.aws.assumed_role import AssumedRole
from logferry.aws.credentials import RENEW_SECONDS, RETRY_SECONDS, CredentialSource
from logferry.aws.sigv4 import Credentials
from logferry.errors import SinkRejected, SinkUnavailable
from support.container_endpoint import container_endpoint
from support.sts_stub import EXTERNAL_ID, ROLE_ARN, response, sts_error, sts_stub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.sts_stub import StsStub

pytestmark = pytest.mark.timeout(60)

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDCALLER", "AWS_SECRET_ACCESS_KEY": "caller-secret"}
SERVER_ERROR = sts_error("500 Internal Server Error", "InternalFailure", "We failed")
DENIED = sts_error("403 Forbidden", "AccessDenied", "User: u is not authorized to perform: sts:AssumeRole")
EXPIRED = sts_error("403 Forbidden", "ExpiredToken", "The security token included in the request is expired")
SECRETS = ("role/secret", "role+token", "caller-secret")


class Clock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return time.time() + self.ahead


def role_of(stub: StsStub, environ: Mapping[str, str] = KEYS, clock: Clock | None = None) -> AssumedRole:
    """Return the role of the stub, with the credentials of an environment."""
    return AssumedRole(stub.role(), CredentialSource(environ), environ, wall_clock=clock or Clock())


async def test_nothing_is_requested_before_the_first_request() -> None:
    """A snapshot contains no credentials; then one request serves all until the renewal."""
    async with sts_stub() as stub:
        role = role_of(stub)
        await asyncio.sleep(0)
        assert stub.forms == []
        found = [await role.get() for _ in range(3)]
        assert found == [Credentials("ASIAROLE1", "role/secret+1", "role+token/1==")] * 3
        assert stub.callers() == ["AKIDCALLER"]
        assert stub.forms == [
            {
                "Action": "AssumeRole",
                "Version": "2011-06-15",
                "RoleArn": ROLE_ARN,
                "RoleSessionName": "logferry-orders",
                "ExternalId": EXTERNAL_ID,
                "DurationSeconds": "3600",
            }
        ]


async def test_credentials_are_renewed_before_they_expire() -> None:
    """The renewal comes RENEW_SECONDS before the end."""
    async with sts_stub() as stub:
        clock = Clock()
        role = role_of(stub, clock=clock)
        assert (await role.get()).access_key == "ASIAROLE1"
        clock.ahead = 3600 - RENEW_SECONDS - 30
        assert (await role.get()).access_key == "ASIAROLE1"
        clock.ahead = 3600 - RENEW_SECONDS + 1
        stub.seconds = 7200
        assert (await role.get()).access_key == "ASIAROLE2"
        assert (await role.get()).access_key == "ASIAROLE2"


async def test_concurrent_requests_share_one_renewal() -> None:
    """STS is asked once."""
    async with sts_stub() as stub:
        stub.delay = 0.05
        role = role_of(stub)
        found = await asyncio.gather(*(role.get() for _ in range(5)))
        assert {each.access_key for each in found} == {"ASIAROLE1"}
        assert len(stub.forms) == 1


@pytest.mark.parametrize("fault", [SERVER_ERROR, DENIED, b"junk"], ids=["500", "403", "junk"])
async def test_failed_renewal_uses_the_present_credentials_while_they_are_valid(fault: bytes) -> None:
    """After their end the error of STS is raised, and the next success ends it."""
    async with sts_stub() as stub:
        clock = Clock()
        role = role_of(stub, clock=clock)
        await role.get()
        stub.always, clock.ahead = fault, 3600 - RENEW_SECONDS + 1
        assert [(await role.get()).access_key for _ in range(3)] == ["ASIAROLE1"] * 3
        assert len(stub.forms) == 2
        clock.ahead += RETRY_SECONDS + 1
        await role.get()
        assert len(stub.forms) == 3
        clock.ahead = 3601
        with pytest.raises((SinkUnavailable, SinkRejected), match="LOGFERRY_S3_ROLE_ARN"):
            await role.get()
        stub.always, stub.seconds = None, 7200
        assert (await role.get()).access_key == "ASIAROLE5"


async def test_rejected_credentials_are_renewed_and_not_used_again() -> None:
    """S3 has reported ExpiredToken before the end that STS stated."""
    async with sts_stub() as stub:
        role = role_of(stub)
        first = await role.get()
        role.expire(first)
        assert (await role.get()).access_key == "ASIAROLE2"
        role.expire(first)
        assert (await role.get()).access_key == "ASIAROLE2", "another request had renewed them"
        role.expire(await role.get())
        stub.always = SERVER_ERROR
        with pytest.raises(SinkUnavailable, match="500 InternalFailure: We failed"):
            await role.get()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (DENIED, SinkRejected, "403 AccessDenied: User: u is not .*; the trust policy of the role must allow"),
        (SERVER_ERROR, SinkUnavailable, "500 InternalFailure"),
        (sts_error("400 Bad Request", "Throttling", "Rate exceeded"), SinkUnavailable, "Throttling: Rate exceeded"),
        (response("200 OK", "<html>Sign in</html>"), SinkUnavailable, "not a response of STS"),
        (response("403 Forbidden", "<html>blocked</html>"), SinkRejected, "403; not a response of STS"),
        (response("200 OK", ""), SinkUnavailable, "gave no credentials"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", SinkUnavailable, "not HTTP"),
        (response("301 Moved", "", "Location: http://x/\r\n"), SinkRejected, "not a response of STS"),
        (response("200 OK", "x" * 100_000), SinkUnavailable, "gave no credentials"),
    ],
    ids=["403", "500", "throttled", "page", "page 403", "empty", "ssh", "redirect", "long"],
)
async def test_a_fault_of_sts_is_classified(fault: bytes, error: type[Exception], message: str) -> None:
    """The message names the role and the setting, is bounded, and contains no secret."""
    async with sts_stub() as stub:
        stub.always = fault
        with pytest.raises(error, match=message) as caught:
            await role_of(stub).get()
        text = str(caught.value)
        assert text.startswith(f"assume {ROLE_ARN} (LOGFERRY_S3_ROLE_ARN): ")
        assert len(text) < 900
        assert not any(secret in text for secret in SECRETS)


async def test_an_invalid_expiration_is_reported() -> None:
    """Credentials without a known end cannot be renewed in time."""
    async with sts_stub() as stub:
        stub.expiration = "tomorrow"
        with pytest.raises(SinkUnavailable, match="no valid expiration: tomorrow") as caught:
            await role_of(stub).get()
        assert not any(secret in str(caught.value) for secret in SECRETS)


async def test_credentials_that_have_expired_at_once_are_renewed_for_each_request() -> None:
    """A proxy has repeated an old response; S3 decides, and no request loops."""
    async with sts_stub() as stub:
        stub.seconds = -60
        role = role_of(stub)
        assert [(await role.get()).access_key for _ in range(2)] == ["ASIAROLE1", "ASIAROLE2"]


async def test_a_slow_sts_is_unavailable_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESPONSE_SECONDS limits the wait, and the next request tries again."""
    monkeypatch.setattr(assumed_role, "RESPONSE_SECONDS", 0.2)
    async with sts_stub() as stub:
        stub.delay = 30
        role = role_of(stub)
        began = time.monotonic()
        with pytest.raises(SinkUnavailable, match=r"no response within 0\.2 s"):
            await role.get()
        assert time.monotonic() - began < 10
        stub.delay = 0
        monkeypatch.setattr(assumed_role, "RESPONSE_SECONDS", 20.0)
        assert (await role.get()).access_key == "ASIAROLE2"


async def test_a_cancelled_renewal_leaves_the_next_one_intact() -> None:
    """The uploader cancels an upload at its deadline."""
    async with sts_stub() as stub:
        stub.delay = 30
        role = role_of(stub)
        task = asyncio.create_task(role.get())
        await asyncio.wait_for(stub.arrived.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stub.delay = 0
        assert (await role.get()).access_key == "ASIAROLE2"


async def test_a_refused_connection_names_the_host_and_the_variable() -> None:
    """The remedies are those of STS, not of S3."""
    async with sts_stub() as stub:
        port = stub.port
    with pytest.raises(SinkUnavailable, match=rf"127\.0\.0\.1:{port}: Connection refused; check AWS_ENDPOINT_URL_STS"):
        await role_of(stub).get()


async def test_the_clock_is_corrected_from_the_date_of_the_response() -> None:
    """The request is signed again once, and the expiration is compared with the wrong clock of this environment."""
    async with sts_stub() as stub:
        clock = Clock()
        clock.ahead = 7200
        date = formatdate(time.time(), usegmt=True)
        sentence = "Signature not yet current: 1 is still later than 2"
        stub.answers = [sts_error("403 Forbidden", "SignatureDoesNotMatch", sentence, f"Date: {date}\r\n")]
        role = role_of(stub, clock=clock)
        assert (await role.get()).access_key == "ASIAROLE2"
        dates = [head.lower().partition("x-amz-date: ")[2][:11] for head in stub.heads]
        assert dates[0] > dates[1]
        assert (await role.get()).access_key == "ASIAROLE2", "the credentials are valid by the clock of STS"
        clock.ahead += 3600 - RENEW_SECONDS + 30
        assert (await role.get()).access_key == "ASIAROLE3"


async def test_a_clock_that_cannot_be_corrected_is_unavailable() -> None:
    """One correction for each renewal."""
    async with sts_stub() as stub:
        date = formatdate(time.time(), usegmt=True)
        stub.always = sts_error("403 Forbidden", "SignatureDoesNotMatch", "Signature expired: 1", f"Date: {date}\r\n")
        with pytest.raises(SinkUnavailable, match="clock of this environment differs"):
            await role_of(stub).get()
        assert len(stub.forms) == 2


async def test_expired_credentials_of_the_caller_are_read_again_once() -> None:
    """Under SnapStart the caller's credentials are temporary too."""
    async with container_endpoint() as endpoint, sts_stub() as stub:
        stub.answers = [EXPIRED]
        role = role_of(stub, endpoint.environ)
        assert (await role.get()).access_key == "ASIAROLE2"
        assert stub.callers() == ["key1", "key2"]


async def test_expired_static_credentials_of_the_caller_are_rejected() -> None:
    """The variables have not changed, so the request is not repeated."""
    async with sts_stub() as stub:
        stub.always = EXPIRED
        with pytest.raises(SinkRejected, match="the credentials of the caller have expired"):
            await role_of(stub).get()
        assert len(stub.forms) == 1


async def test_an_environment_without_credentials_is_rejected_before_a_request() -> None:
    """The message names the role and the variables of the caller."""
    async with sts_stub() as stub:
        with pytest.raises(SinkRejected, match=r"LOGFERRY_S3_ROLE_ARN\): the environment has no AWS credentials"):
            await role_of(stub, {}).get()
        assert stub.forms == []
