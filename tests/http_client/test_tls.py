"""Certificate authorities that the S3 clients trust."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.httpsession import get_cert_path

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client import tls
from logferry.http_client.tls import AMAZON_ROOTS, TlsContexts, complete_bundle
from support.s3_stub import OBJECT, close, s3_sink
from support.tls_server import make_certificate, tls_server

if TYPE_CHECKING:
    from logferry.sinks.base import Sink

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closed_sinks")]

AMAZON_HOST = "logs.s3.eu-west-1.amazonaws.com"
CLIENTS = ["auto", "sdk"]


async def put_and_close(sink: Sink) -> None:
    """Store one object."""
    try:
        await sink.put(OBJECT)
    finally:
        await close(sink)


def certificates_in(path: str) -> list[str]:
    """Return the certificates of a file."""
    return re.findall("-----BEGIN.*?-----END CERTIFICATE-----", Path(path).read_text(), re.DOTALL)


def test_amazon_roots_are_among_those_of_botocore() -> None:
    """The five certificates are equal to botocore's; a root that botocore removes must be removed here."""
    ours, theirs = certificates_in(AMAZON_ROOTS), certificates_in(get_cert_path(verify=True))
    assert len(ours) == 5
    assert set(ours) <= set(theirs)


def test_complete_bundle_is_the_one_that_botocore_uses() -> None:
    """The file is found by its path, without an import of botocore."""
    assert complete_bundle() == get_cert_path(verify=True)


@pytest.mark.parametrize(
    ("host", "amazon_only"),
    [
        (AMAZON_HOST, True),
        ("localhost", False),
        ("sts.eu-central-1.api.aws", True),
        ("sts.cn-north-1.api.amazonwebservices.com.cn", False),
        ("amazonaws.com.example", False),
        ("s3.cn-north-1.amazonaws.com.cn", False),
        ("evilamazonaws.com", False),
    ],
)
def test_amazon_roots_are_for_hosts_of_aws_only(host: str, *, amazon_only: bool) -> None:
    """Other stores have certificates of any authority."""
    loaded = len(TlsContexts(host, {}).current().get_ca_certs())
    assert (loaded == 5) is amazon_only


def test_every_context_verifies_certificates_and_names() -> None:
    """Verification cannot be switched off."""
    for host in (AMAZON_HOST, "localhost"):
        context = TlsContexts(host, {}).current()
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_widen_trusts_the_complete_bundle_once() -> None:
    """A certificate for another name is no reason to trust more authorities."""
    contexts = TlsContexts(AMAZON_HOST, {})
    error = ssl.SSLCertVerificationError()
    error.verify_code = 62
    assert not contexts.widen(error)
    error.verify_code = 20
    assert contexts.widen(error)
    assert len(contexts.current().get_ca_certs()) > 50
    assert not contexts.widen(error)
    assert not TlsContexts("localhost", {}).widen(error)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_bundle_that_cannot_be_read_is_rejected_with_its_variable(tmp_path: Path, variable: str) -> None:
    """The message contains the variable, its value, the cause and the remedy."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for path in (tmp_path / "missing.pem", junk):
        with pytest.raises(SinkRejected, match=rf"{variable}={path} cannot be read: .*; correct or unset {variable}"):
            TlsContexts(AMAZON_HOST, {variable: str(path)}).current()


def test_missing_complete_bundle_is_rejected_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slim layer contains no bundle."""
    monkeypatch.setattr(tls, "BUNDLES", ())
    with pytest.raises(SinkRejected, match="no bundle of certificate authorities is installed; set AWS_CA_BUNDLE"):
        TlsContexts("minio.example", {}).current()


# --- against a server


@pytest.mark.parametrize("client", CLIENTS)
async def test_put_succeeds_with_the_given_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str) -> None:
    """AWS_CA_BUNDLE contains the authority of the server."""
    with tls_server(tmp_path) as (environment, certificate, requests):
        environment |= {"AWS_CA_BUNDLE": certificate}
        await put_and_close(s3_sink(environment, "bucket", monkeypatch, client=client))
    assert len(requests) == 1


@pytest.mark.parametrize("client", CLIENTS)
async def test_put_fails_for_a_certificate_of_another_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    """A certificate of a trusted authority for any other name is not enough."""
    with tls_server(tmp_path, name="another.example") as (environment, certificate, requests):
        environment |= {"AWS_CA_BUNDLE": certificate}
        with pytest.raises(SinkUnavailable, match="localhost"):
            await put_and_close(s3_sink(environment, "bucket", monkeypatch, client=client))
    assert requests == []


@pytest.mark.parametrize("client", CLIENTS)
async def test_put_fails_for_a_certificate_of_an_unknown_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    """No request is sent to a server whose certificate is not verified."""
    with tls_server(tmp_path) as (environment, _, requests), pytest.raises(SinkUnavailable, match="certificate"):
        await put_and_close(s3_sink(environment, "bucket", monkeypatch, client=client))
    assert requests == []


@pytest.mark.parametrize("client", CLIENTS)
async def test_put_is_rejected_if_the_given_bundle_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    """The message names AWS_CA_BUNDLE."""
    with tls_server(tmp_path) as (environment, _, _requests):
        environment |= {"AWS_CA_BUNDLE": str(tmp_path / "missing.pem")}
        with pytest.raises(SinkRejected, match=r"AWS_CA_BUNDLE=.*missing\.pem cannot be read"):
            await put_and_close(s3_sink(environment, "bucket", monkeypatch, client=client))


async def test_put_succeeds_if_aws_has_a_root_that_is_not_amazons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The complete bundle is tried within the same put, and kept."""
    other, _ = make_certificate(tmp_path, name="other.example")
    with tls_server(tmp_path) as (environment, certificate, requests):
        monkeypatch.setattr(tls, "AMAZON_HOSTS", ("localhost",))
        monkeypatch.setattr(tls, "AMAZON_ROOTS", other)
        monkeypatch.setattr(tls, "complete_bundle", lambda: certificate)
        sink = s3_sink(environment, "bucket", monkeypatch)
        await put_and_close(sink)
        await put_and_close(sink)
    assert len(requests) == 2
