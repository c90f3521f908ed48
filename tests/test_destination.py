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
