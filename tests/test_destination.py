"""Destinations: one parser for the shipper and all commands, which decodes nothing."""

from __future__ import annotations

import pytest

from logferry.destination import Destination, directive_in, parse


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
