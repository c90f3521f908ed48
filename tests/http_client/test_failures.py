"""Messages of failed connections."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.http_client.failures import MESSAGE_CHARACTERS, bounded, connect_failure
from logferry.sinks.s3.errors import CONNECTION_REMEDIES


@given(st.text() | st.just("x" * 5000) | st.just("\n\x1b[31m evil \x07" * 100))
def test_bounded_gives_one_printable_line(sentence: str) -> None:
    """A response cannot write control characters into the log, or fill it."""
    line = bounded(sentence)
    assert len(line) <= MESSAGE_CHARACTERS
    assert line.isprintable()


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The key ASIAIOSFODNN7EXAMPLE is unknown", "The key … is unknown"),
        (f"wrong signature {'0a' * 32} for it", "wrong signature … for it"),
        ("407, url='http://user:pass@proxy:3128'", "407, url='http://…@proxy:3128'"),
        ("'Proxy-Authorization': 'Basic dXNlcjpwYXNz'", "'Proxy-Authorization': '…'"),
        ("mail admin@example.com at https://example.com/a", "mail admin@example.com at https://example.com/a"),
    ],
)
def test_bounded_removes_keys_signatures_and_passwords(sentence: str, expected: str) -> None:
    """Some stores and proxies repeat parts of the request in their sentence."""
    assert bounded(sentence) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "x"), "cannot connect to s3.example:443: Too many open files"),
        (OSError(errno.ENETUNREACH, "x"), "cannot connect to s3.example:443: Network is unreachable; check AWS_"),
        (
            OSError("Multiple exceptions: a\nb"),
            "cannot connect to s3.example:443: Multiple exceptions: a b; check AWS_",
        ),
    ],
)
def test_connect_failure_has_a_remedy_unless_the_environment_is_exhausted(error: OSError, expected: str) -> None:
    """Another address does not help if this process has no descriptor left."""
    message = connect_failure("s3.example", 443, error, CONNECTION_REMEDIES, is_unresolved=False)
    assert message.startswith(expected)
    assert ("check" in message) is ("check" in expected)


def test_connect_failure_is_bounded() -> None:
    """Host and cause come from variables and from libraries."""
    message = connect_failure("h" * 9999, 443, OSError("x" * 9999), CONNECTION_REMEDIES, is_unresolved=True)
    assert len(message) < 3 * MESSAGE_CHARACTERS
