"""Expressions with a bounded run time, and one search over many texts."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from logferry.records.patterns import MAX_CHARACTERS, Pattern, any_of
from logferry.records.text_block import TextBlock

SOURCES = [
    *("a", "^a", "b$", "a.b", r"a\s+b", r"\ba\b", "[^c]*c", r"\Aa", r"b\z", "(?-m)^a", "(?i)Ä", "a|^b|c$", "(?s)a.*b"),
    *(r"\W", "ab?"),
]


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("(?<!a)b", "look-around"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("(", "missing"),
        ("[z-a]", "character class"),
        ("((a{100}){100}){100}", "repetition"),
        ("a" * (MAX_CHARACTERS + 1), "shorten"),
        ("\ud800", "UTF-8"),
    ],
)
def test_invalid_or_unbounded_pattern_is_refused(source: str, mistake: str) -> None:
    """The message names the mistake."""
    with pytest.raises(ValueError, match=mistake):
        Pattern(source)


def test_pattern_that_would_stop_a_backtracking_engine_is_linear() -> None:
    """`re` needs hours for each of these texts, so the limit of the test is generous."""
    began = time.monotonic()
    for source in ("(a+)+b", "(a|a)*c", ".*.*.*.*x", r"\w+@"):
        assert not Pattern(source).matches("a" * 200_000)
    assert time.monotonic() - began < 60


def test_lines_of_a_text_have_anchors_and_text_may_have_half_characters() -> None:
    """A message often ends with a line break, and a JSON escape can be half of a pair."""
    assert Pattern("x$").matches("x\n")
    assert Pattern("^y").matches("x\ny")
    assert Pattern("a.b").matches("a\ud800b")
    assert any_of([Pattern("a|b"), Pattern("(?i)c")]).matches("xC")
    assert not any_of([Pattern("(?i)c"), Pattern("d")]).matches("D")


@settings(max_examples=400, deadline=None, print_blob=True)
@given(
    source=st.sampled_from(SOURCES),
    texts=st.lists(st.text("abcAÄä \n\ud800", max_size=4), min_size=1, max_size=80),
)
def test_candidates_contain_every_text_with_a_match(source: str, texts: list[str]) -> None:
    """A match may extend over several texts, and anchors match at their ends."""
    pattern = Pattern(source)
    found = list(TextBlock(texts).candidates(pattern))
    assert found == sorted(set(found))
    assert {index for index, text in enumerate(texts) if pattern.matches(text)} <= set(found)
