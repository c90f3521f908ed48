"""Destinations: one parser for the shipper and all commands, which decodes nothing."""

from __future__ import annotations

import re

import pytest

from logferry.destination import Destination, directive_in, parse, parse_readable, shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("s3://my.bucket-1", Destination("s3", "my.bucket-1", "")),
        ("s3://bucket/", Destination("s3", "bucket", "")),
        ("s3://bucket/a/b/", Destination("s3", "bucket", "a/b")),
        ("s3://bucket/a b/ä=1", Destination("s3", "bucket", "a b/ä=1")),
        ("s3://bucket/a?b#c", Destination("s3", "bucket", "a?b#c")),
        ("s3://bucket/a%2Fb", Destination("s3", "bucket", "a%2Fb")),
        ("s3://bucket/50%25 off", Destination("s3", "bucket", "50%25 off")),
        ("s3://bucket/a+b", Destination("s3", "bucket", "a+b")),
        ("file:///var/out", Destination("file", "", "/var/out")),
        ("firehose://my-stream_1.x", Destination("firehose", "my-stream_1.x", "")),
        ("firehose://logs?region=eu-west-1", Destination("firehose", "logs", "eu-west-1")),
        ("file:///var/a b%20c", Destination("file", "", "/var/a b%20c")),
    ],
)
def test_parse_takes_the_prefix_literally_without_outer_slashes(value: str, expected: Destination) -> None:
    """The text after the bucket is the prefix of the keys, as in the AWS CLI."""
    assert parse(value) == expected


ACCOUNT = "eu-central-1:123456789012"
OBJECT_LAMBDA = f"arn:aws:s3-object-lambda:{ACCOUNT}:accesspoint/l-1"
OUTPOST = f"arn:aws:s3-outposts:{ACCOUNT}:outpost/op-01ac5d28a6a232904/accesspoint/logs"


@pytest.mark.parametrize(
    ("place", "bucket", "prefix"),
    [
        (f"arn:aws:s3:{ACCOUNT}:accesspoint/logs", f"arn:aws:s3:{ACCOUNT}:accesspoint/logs", ""),
        (f"arn:aws:s3:{ACCOUNT}:accesspoint/logs/", f"arn:aws:s3:{ACCOUNT}:accesspoint/logs", ""),
        (f"arn:aws:s3:{ACCOUNT}:accesspoint/logs/a/b=1", f"arn:aws:s3:{ACCOUNT}:accesspoint/logs", "a/b=1"),
        (f"arn:aws-cn:s3:{ACCOUNT}:accesspoint:logs/a", f"arn:aws-cn:s3:{ACCOUNT}:accesspoint:logs", "a"),
        (f"{OBJECT_LAMBDA}/a", OBJECT_LAMBDA, "a"),
        (f"{OUTPOST}/a/b", OUTPOST, "a/b"),
    ],
)  # fmt: skip
def test_parse_separates_the_arn_of_an_access_point_from_the_prefix(place: str, bucket: str, prefix: str) -> None:
    """The resource of an ARN contains slashes too."""
    assert parse(f"s3://{place}") == Destination("s3", bucket, prefix)


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("arn:aws:s3:::bucket/prefix", "with the name of the bucket"),
        (f"arn:aws:s3:{ACCOUNT}:accesspoint", "the ARN of an access point, such as"),
        (f"arn:aws:s3:{ACCOUNT}:bucket/logs", "the ARN of an access point, such as"),
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/logs", "multi-Region .* in one region"),
        (f"arn:aws:s3:{ACCOUNT}:accesspoint/logs/a//b", "readers cannot address"),
        (f"arn:aws:s3:{ACCOUNT}:accesspoint/logs/%Y", "fields of LOGFERRY_KEY"),
    ],
)
def test_parse_refuses_other_arns_with_the_remedy(place: str, remedy: str) -> None:
    """A multi-Region access point needs a signature that neither client makes."""
    with pytest.raises(ValueError, match=remedy):
        parse(f"s3://{place}")


@pytest.mark.parametrize("bucket", ["Legacy_Bucket", "a_b", "MyBucket.Logs", 255 * "b", "my-alias-abc123-s3alias"])
def test_parse_accepts_legacy_bucket_names_and_aliases(bucket: str) -> None:
    """Buckets from before March 2018 in us-east-1 keep their names (S3 User Guide, "Naming rules")."""
    assert parse(f"s3://{bucket}/logs") == Destination("s3", bucket, "logs")


@pytest.mark.parametrize(
    ("text", "directive"),
    [("%Y/%m", "%Y"), ("a/%d", "%d"), ("%H", "%H"), ("%2F", ""), ("%af", ""), ("%25", ""), ("100%", ""), ("", "")],
)
def test_directive_in_distinguishes_strftime_from_percent_escapes(text: str, directive: str) -> None:
    """A percent escape has two hexadecimal digits, and is literal text in a key."""
    assert directive_in(text) == directive


@pytest.mark.parametrize(
    ("url", "expected", "address"),
    [
        ("https://logs.example.com", Destination("https", "logs.example.com", "/"), ("logs.example.com", 443)),
        (
            "https://Logs.Example.com:8443/a/b?c=%20d",
            Destination("https", "Logs.Example.com:8443", "/a/b?c=%20d"),
            ("logs.example.com", 8443),
        ),
        ("https://10.0.0.1/v1/logs/", Destination("https", "10.0.0.1", "/v1/logs/"), ("10.0.0.1", 443)),
        ("https://[2001:DB8::1]:4318/x", Destination("https", "[2001:DB8::1]:4318", "/x"), ("2001:db8::1", 4318)),
        ("https://h?x=1", Destination("https", "h", "/?x=1"), ("h", 443)),
        ("http://localhost:4318/v1/logs", Destination("http", "localhost:4318", "/v1/logs"), ("localhost", 4318)),
        ("http://127.0.0.53/x", Destination("http", "127.0.0.53", "/x"), ("127.0.0.53", 80)),
        ("http://[::1]:4318/x", Destination("http", "[::1]:4318", "/x"), ("::1", 4318)),
    ],
)
def test_parse_takes_path_and_query_of_a_receiver_unchanged(
    url: str, expected: Destination, address: tuple[str, int]
) -> None:
    """The receiver gets what the user has written."""
    assert parse(url) == expected
    assert parse(url).address == address


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://", "use https://host/path"),
        ("https:///v1/logs", "use https://host/path"),
        ("https://host:0/", "use https://host/path"),
        ("https://host:65536/", "use https://host/path"),
        ("https://hôst/", "with an ASCII host name"),
        ("https://ho st/", "with an ASCII host name"),
        ("https://host/a b", "escape other characters"),
        ("https://host/ä", "escape other characters"),
        ("https://host/{function}", "escape other characters"),
        ("https://host/%Y", "escape other characters"),
        ("https://host/a#b", "remove a fragment"),
        ("https://host/a\r\nx: y", "escape other characters"),
        ("https://user@host/", "the URL has a user"),
        ("https://user:password@host/", "the URL has a user"),
        ("http://logs.example.com/", "use https://"),
        ("http://127.0.0.1.example.com/", "use https://"),
        ("http://localhost.example.com/", "use https://"),
        ("https://my-bucket.s3.eu-central-1.amazonaws.com/logs", "use s3://bucket/prefix"),
        ("https://s3.amazonaws.com/my-bucket", "use s3://bucket/prefix"),
        ("https://s3-us-west-2.amazonaws.com/my-bucket", "use s3://bucket/prefix"),
        ("https://s3.console.aws.amazon.com/s3/buckets/x", "use s3://bucket/prefix"),
        ("ftp://host/", "use s3://bucket/prefix, firehose://stream, https://host/path"),
        ("HTTPS://host/", "use s3://bucket/prefix, firehose://stream, https://host/path"),
    ],
)
def test_parse_refuses_a_receiver_with_the_remedy(url: str, remedy: str) -> None:
    """A request there would fail, or would show records to others."""
    with pytest.raises(ValueError, match=re.escape(remedy)):
        parse(url)


def test_host_of_an_api_gateway_is_a_receiver() -> None:
    """Not every host of amazonaws.com is that of S3."""
    assert parse("https://abc123.execute-api.eu-central-1.amazonaws.com/logs").scheme == "https"


@pytest.mark.parametrize("url", ["https://host/path", "http://localhost/"])
def test_parse_readable_refuses_a_receiver(url: str) -> None:
    """The commands read objects, and a receiver has none."""
    with pytest.raises(ValueError, match="read them there"):
        parse_readable(url)
    assert parse_readable("s3://bucket/logs") == parse("s3://bucket/logs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a b", "s3://bucket/a b"),
        ("https://host", "https://host"),
        ("https://host:1/secret?x", "https://host:1/…"),
        ("https://user:secret@host/secret@x", "https://host/…"),
        ("http://secret@host?x", "http://host/…"),
        ("HTTPS://secret@host", "HTTPS://host"),
    ],
)
def test_shown_has_nothing_of_a_receiver_but_its_host(text: str, expected: str) -> None:
    """The text is that of a message."""
    assert shown(text) == expected
