"""The header Retry-After: seconds, or a date relative to the date of the response."""

from __future__ import annotations

import pytest

from logferry.sinks.retry_after import retry_after

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""
DATE = "Sun, 06 Nov 1994 08:{}:37 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        (DATE.format(50), 60.0),
        (DATE.format(49), 0.0),
        (DATE.format(48), 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("9" * 5000, 0.0),
        ("tomorrow", 0.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 0.0),
    ],
)
def test_value_is_read_in_both_forms(value: str, seconds: float) -> None:
    """Any other value requests nothing. No client has to read the obsolete forms of a date."""
    assert retry_after({"retry-after": value}, now=NOW) == seconds


def test_missing_header_requests_nothing() -> None:
    """Most responses have none."""
    assert retry_after({}, now=NOW) == 0.0


def test_date_is_relative_to_that_of_the_response() -> None:
    """The clock of this environment is wrong by a year."""
    headers = {"retry-after": DATE.format(50), "date": DATE.format(49)}
    assert retry_after(headers, now=NOW + 365 * 86_400) == 60.0
