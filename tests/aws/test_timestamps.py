"""Timestamps against the standard library's parsers."""

from __future__ import annotations

import datetime as dt
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.aws.timestamps import amz_date, parse_http_date, parse_iso

moments = st.integers(0, 32_503_680_000)


@given(moments)
def test_timestamps_agree_with_the_standard_library(moment: int) -> None:
    """From 1970 to 3000, leap years included."""
    time = dt.datetime.fromtimestamp(moment, dt.UTC)
    assert amz_date(moment + 0.9) == time.strftime("%Y%m%dT%H%M%SZ")
    assert parse_http_date(formatdate(moment, usegmt=True)) == moment
    assert parse_iso(time.strftime("%Y-%m-%dT%H:%M:%SZ")) == moment
    assert parse_iso(time.isoformat()) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "Mon, 30 Xyz 2026 05:45:43 GMT", "2026-11-30T05:45:43+02:00"])
def test_text_that_is_not_a_timestamp_gives_none(text: str) -> None:
    """The caller decides what a missing time means."""
    assert parse_http_date(text) is None
    assert parse_iso(text) is None
