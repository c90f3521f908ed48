"""AWS Signature Version 4 against AWS's published examples."""

from __future__ import annotations

import hashlib
from urllib.parse import quote as urllib_quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from logferry.aws.sigv4 import Credentials, quote, sign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
BODY = b"Welcome to Amazon S3."


def test_sign_reproduces_the_published_put_object_example() -> None:
    """S3 API Reference, "Examples: Signature Calculations in AWS Signature Version 4", PUT Object."""
    payload = hashlib.sha256(BODY).hexdigest()
    headers = {
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "Host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": payload,
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    added = sign(
        "PUT",
        "/" + quote("test$file.text"),
        "",
        headers,
        payload_sha256=payload,
        credentials=EXAMPLE,
        region="us-east-1",
        service="s3",
        amz_date="20130524T000000Z",
        encode_path_twice=False,
    )
    assert added == {
        "x-amz-date": "20130524T000000Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    }


def test_sign_reproduces_the_published_get_example_with_a_query() -> None:
    """S3 API Reference, the same page, GET Bucket (List Objects)."""
    empty = hashlib.sha256(b"").hexdigest()
    added = sign(
        "GET",
        "/",
        "max-keys=2&prefix=J",
        {"host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": empty},
        payload_sha256=empty,
        credentials=EXAMPLE,
        region="us-east-1",
        service="s3",
        amz_date="20130524T000000Z",
        encode_path_twice=False,
    )
    assert added["authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


def test_sign_reproduces_the_published_example_of_another_service() -> None:
    """IAM User Guide, "Create a signed AWS API request": ListUsers, without the payload's hash as a header."""
    added = sign(
        "GET",
        "/",
        "Action=ListUsers&Version=2010-05-08",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "host": "iam.amazonaws.com"},
        payload_sha256=hashlib.sha256(b"").hexdigest(),
        credentials=Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        region="us-east-1",
        service="iam",
        amz_date="20150830T123600Z",
        encode_path_twice=True,
    )
    assert added["authorization"].endswith("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")


@given(
    path=st.from_regex(r"(/[a-zA-Z0-9=%$ -]{1,8}){1,3}", fullmatch=True),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    body=st.binary(max_size=100),
    token=st.none() | st.just("token=="),
    region=st.sampled_from(["us-east-1", "eu-west-1"]),
)
def test_sign_equals_botocore_for_other_services(
    path: str, value: str, body: bytes, token: str | None, region: str
) -> None:
    """Services other than S3 sign the encoded path encoded once more."""
    path = quote(path, keep_slash=True)
    request = AWSRequest("POST", f"https://ssm.{region}.amazonaws.com{path}", {"X-Amz-Target": value}, body)
    SigV4Auth(BotocoreCredentials(EXAMPLE.access_key, EXAMPLE.secret_key, token), "ssm", region).add_auth(request)
    added = sign(
        "POST",
        path,
        "",
        {"host": f"ssm.{region}.amazonaws.com", "x-amz-target": value},
        payload_sha256=hashlib.sha256(body).hexdigest(),
        credentials=Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, token),
        region=region,
        service="ssm",
        amz_date=request.headers["X-Amz-Date"],
        encode_path_twice=True,
    )
    assert added["authorization"] == request.headers["Authorization"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quote_equals_botocores_choice_of_characters(text: str) -> None:
    """The signature depends on it."""
    assert quote(text) == urllib_quote(text, safe="-._~")
    assert quote(text, keep_slash=True) == urllib_quote(text, safe="-._~/")


def test_credentials_do_not_show_their_secrets() -> None:
    """They may appear in a traceback."""
    assert repr(Credentials("AKID", "secret", "token")) == "<Credentials>"
