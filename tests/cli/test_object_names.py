"""Names of objects: markers of other programs, and the form of logferry's default key."""

from __future__ import annotations

import pytest

from logferry.cli.object_names import is_marker, looks_like_logferry


@pytest.mark.parametrize(
    "name",
    [
        *("", "dt=1/", "dt=1_$folder$", "_SUCCESS", "dt=1/_SUCCESS", "_temporary/0/part-1", ".DS_Store"),
        *("dt=1/.part-1.crc", "dt=1/.1.ndjson.gz.77.part"),
    ],
)
def test_is_marker_finds_folders_and_hidden_names(name: str) -> None:
    """The S3 console, Hadoop and Spark create such objects inside a prefix."""
    assert is_marker(name)


@pytest.mark.parametrize("name", ["1.ndjson.gz", "function=a_b/dt=1/hour=02/x-1.ndjson", "a_$folder$x", "a./b_"])
def test_is_marker_accepts_names_of_objects(name: str) -> None:
    """Underscores and dots inside a name have no meaning."""
    assert not is_marker(name)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("function=f/dt=2026-11-21/hour=02/0a1b2c3d4e5f6071-00000007.ndjson.gz", True),
        ("hour=02/021500Z-0a1b2c3d4e5f6071r2-00000007.ndjson.gz", True),
        ("0a1b2c3d4e5f6071/00000007", True),
        ("00000007_0a1b2c3d4e5f6071.ndjson.gz", True),
        ("00000007/dt=2026-11-21/0a1b2c3d4e5f6071r2.json", True),
        ("0a1b2c3d4e5f6071/dt=2026-11-21/00000007.log.zst", True),
        ("1234567890123456.gz", False),
        ("report-2026-11-21.csv", False),
        ("0a1b2c3d4e5f6071", False),
    ],
)
def test_looks_like_logferry_needs_environment_and_segment(key: str, expected: bool) -> None:
    """A damaged object of logferry must not count as foreign."""
    assert looks_like_logferry(key) is expected
