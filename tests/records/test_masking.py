"""Masking: what each preset finds and leaves, JSON that stays JSON, and paths."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from logferry.options.records import _rules
from logferry.records import mask_rules
from logferry.records.json_path import JsonPath
from logferry.records.masking import Masker
from support.batch_strategies import JSON_VALUES

THOROUGH = settings(max_examples=300, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
KEY_LIKE = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


def masked(rules: str, text: str) -> str:
    """Return a text after these rules."""
    return Masker(_rules(rules)).text(text)


@pytest.mark.parametrize(
    ("preset", "text", "expected"),
    [
        ("email", "to Jane.Doe+x@mail.example.co.uk.", "to [email]."),
        ("email", "für jürgen@müller.de, <a@b.io>", "für [email], <[email]>"),
        ("email", "user@localhost, @handle, a@@b.c", None),
        ("ipv4", "from 10.0.0.1:80, 255.255.255.255", "from [ipv4]:80, [ipv4]"),
        ("ipv4", "256.1.1.1, 1.2.3, 1.3.6.1.4.1.311, v1.2.3.4.5, 1.2.3.04", None),
        ("ipv6", "[2001:db8::8a2e:370:7334]:443", "[[ipv6]]:443"),
        ("ipv6", "fe80::1%eth0 ::1 1:2:3:4:5:6:7:8 ::ffff:10.0.0.1", "[ipv6]%eth0 [ipv6] [ipv6] [ipv6]"),
        ("ipv6", "02:26:24 std::vector a :: b 00:1B:44:11:3A:B7 12:34 Mod::fn", None),
        ("aws-keys", "id AKIAIOSFODNN7EXAMPLE, ASIAIOSFODNN7EXAMPLE", "id [aws-keys], [aws-keys]"),
        ("aws-keys", f"aws_secret_access_key = {KEY_LIKE}", "aws_secret_access_key = [aws-keys]"),
        ("aws-keys", f'{{"SecretAccessKey":"{KEY_LIKE}","n":1}}', '{"SecretAccessKey":"[aws-keys]","n":1}'),
        ("aws-keys", f"?X-Amz-Security-Token={KEY_LIKE}%3D", "?X-Amz-Security-Token=[aws-keys]"),
        ("aws-keys", f"sha1 {KEY_LIKE} XAKIAIOSFODNN7EXAMPLE", None),
        ("jwt", f"token={JWT};", "token=[jwt];"),
        ("jwt", "eyJ eyJhbGciOiJIUzI1NiJ9 keyJabcdefghij.b.c", None),
        ("bearer", "Authorization: Bearer abc.DEF-123_~+/==, x", "Authorization: Bearer [bearer], x"),
        ("bearer", "the bearer of it, forbearer abcdefghijkl", None),
        ("card", "4111 1111 1111 1111, 5500-0000-0000-0004, 378282246310005", "[card], [card], [card]"),
        ("card", "order 23 4111 1111 1111 1111 77", "order 23 [card] 77"),
        ("card", "order 22 4111 1111 1111 1111 77", "order [card] 77"),
        ("card", "4111111111111112 1795227984357000 41111111111111111111111", None),
    ],
)
def test_preset_replaces_what_it_names_and_leaves_similar_text(preset: str, text: str, expected: str | None) -> None:
    """A rule that leaves a text returns the same object, and `may_match` agrees with it."""
    masker = Masker(_rules(preset))
    found = masker.text(text)
    assert found == (text if expected is None else expected)
    assert (found is text) == (expected is None)
    assert masker.may_match(text) or found is text


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        (r"/user-\d+/", "a user-12 b user-3", "a [masked] b [masked]"),
        (r"user=/user-\d+/", "a user-12", "a [user]"),
        (r"/password=(\S+)/", "password=x y", "password=[masked] y"),
        (r"/(?i)PIN (\d+)|id \d+/", "pin 12, id 3", "pin [masked], [masked]"),
        (r"/a\/b/", "a/b a\\b", "[masked] a\\b"),
        (r"/^\w+:/", "key: value\nother: x", "[masked] value\n[masked] x"),
        ("$.user.password", '{"user":{"password":"x","name":"y"}}', '{"user":{"password":"[masked]","name":"y"}}'),
        ("pw=$..password", '{"a":[{"password":{"b":[1]}}]}', '{"a":[{"password":"[pw]"}]}'),
        ("pw=$..password", '{"password":null}', '{"password":"[pw]"}'),
        ("$.items[*].card", '{"items":[{"card":1},{}],"card":3}', '{"items":[{"card":"[masked]"},{}],"card":3}'),
        ("$.items[1]", '{"items":[1,2,3]}', '{"items":[1,"[masked]",3]}'),
        ("$[*]", "[1, {}]", '["[masked]", "[masked]"]'),
        (r"$.note=/\d{3}/", '{"note":"a 123","other":"123"}', '{"note":"a [masked]","other":"123"}'),
        (r"$.note=/\d{3}/", '{"note":{"deep":["x 123",4567]}}', '{"note":{"deep":["x [masked]","[masked]7"]}}'),
        ("$['a key'].b", r'{"a\u0020key":{"b":"\u0041"}}', r'{"a\u0020key":{"b":"[masked]"}}'),
        ("email", r'{"to":"a\u0040b.io","n":1.50,"n":1e5}', '{"to":"[email]","n":1.50,"n":1e5}'),
        ("email", '{"a@b.io":1,"c@d.io":2,"x":3}', '{"[email]":1,"[email] 2":2,"x":3}'),
        ("card", '{"number":4111111111111111,"n":411}', '{"number":"[card]","n":411}'),
        ("ipv4", r'{"m":"\t10.0.0.1"}', r'{"m":"\t[ipv4]"}'),
        (r'/"pin":"(\d+)"/', '{"pin":"12","n":1}', '{"pin":"[masked]","n":1}'),
        ("email", json.dumps({"body": json.dumps({"to": "\tä@b.io"})}), '{"body": "{\\"to\\": \\"\\\\t[email]\\"}"}'),
    ],
)  # fmt: skip
def test_rule_replaces_matches_groups_and_values(rules: str, text: str, expected: str) -> None:
    """JSON keeps every byte outside the replaced parts."""
    masker = Masker(_rules(rules))
    assert masker.text(text) == expected
    assert masker.may_match(text)


def test_expression_that_would_break_json_makes_the_text_a_json_string() -> None:
    """No content is lost, nothing passes, and the result is still JSON."""
    found = masked(r'/"pin":"\d+"/', '{"pin":"12","n":1}')
    assert json.loads(found) == '{[masked],"n":1}'


def test_text_that_only_begins_like_json_is_masked_as_text() -> None:
    """Paths apply to JSON, and expressions to every text."""
    assert masked(r"email,$.a", '{"a": a@b.io') == '{"a": [email]'
    assert masked("email,$.a", "[INFO] a@b.io") == "[INFO] [email]"


def test_deeply_nested_text_is_masked_in_bounded_depth() -> None:
    """JSON inside strings is followed to a limit, and masked as text behind it."""
    text: str = "a@b.io"
    for _ in range(8):
        text = json.dumps({"in": text})
    assert "a@b.io" not in masked("email", text)
    assert "a@b.io" not in masked("email", "[" * 150 + '"a@b.io"' + "]" * 150)


def test_matches_of_an_expression_are_bounded_and_the_rest_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each match of `a(.*b)?` reads the rest of the text, so their number is limited by the size of the text."""
    monkeypatch.setattr(mask_rules, "MAX_WORK_BYTES", 100)
    assert masked("/a(?:.*b)?/", "x" + "a" * 24) == "x" + "[masked]" * 3
    assert masked("email", "a@b.io " * 9) == "[email] " * 9, "presets are linear"


@pytest.mark.parametrize("path", ["$", "a.b", "$a", "$.", "$.a..", "$[a]", "$['a]", "$.a b", "$...a", "$.a[-1]"])
def test_invalid_path_is_refused_with_a_remedy(path: str) -> None:
    """The error shows the forms that are possible."""
    with pytest.raises(ValueError, match=r"use a path such as \$\.user\.password"):
        JsonPath(path)


@pytest.mark.parametrize(
    ("path", "place", "expected"),
    [
        ("$.a.b", ["a", "b"], True),
        ("$.a.b", ["a"], False),
        ("$.a.b", ["a", "b", "c"], False),
        ("$..b", ["b"], True),
        ("$..b", ["a", "b", "b"], True),
        ("$..b.c", ["b", "b", "c"], True),
        ("$..b.c", ["b", "x", "c"], False),
        ("$.a..c", ["a", 0, "b", "c"], True),
        ("$.a[*]", ["a", 7], True),
        ("$.a.*", ["a", "x"], True),
        ('$["a"][0]', ["a", 0], True),
        ("$..a..b", ["a", "x", "a", "b", "y", "b"], True),
        ("$..a..b", ["b", "a"], False),
    ],
)
def test_path_leads_to_a_place(path: str, place: list[object], expected: bool) -> None:
    """RFC 9535, section 2.5: names, indexes, wildcards, descendants."""
    assert JsonPath(path).matches(place) is expected


TEXT_PARTS = st.sampled_from(
    [
        *("a@b.io", "10.0.0.1", "::1", "4111 1111 1111 1111", JWT, "Bearer abcdefgh", "AKIAIOSFODNN7EXAMPLE"),
        *'ab \t\n\\"/ä.:,{}[]1',
    ]
)  # fmt: skip
TEXTS = st.lists(TEXT_PARTS, max_size=6).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS | JSON_VALUES | TEXTS.map(lambda text: json.dumps({"in": text})),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("a"), inner, max_size=3),
    max_leaves=8,
)
RULES = st.lists(
    st.sampled_from([*mask_rules.PRESETS, r"/\d+/", "/[ab]+/", '/"a/', "$.a", "$..in", "$[0]", r"$.a=/\w/", "/^a|b$/"]),
    min_size=1, max_size=4,
).map(",".join)  # fmt: skip


@THOROUGH
@given(rules=RULES, value=VALUES, ascii_only=st.booleans())
def test_masked_json_is_json_and_the_quick_check_misses_nothing(rules: str, value: Any, ascii_only: bool) -> None:
    """A JSON text stays JSON, and a text that the quick check excludes has no match."""
    text = json.dumps([value], ensure_ascii=ascii_only)
    masker = Masker(_rules(rules))
    found = masker.json(text)
    json.loads(found)
    if not masker.may_match(text):
        assert found is text
        assert masker.text(text) is text


@THOROUGH
@given(value=VALUES)
def test_no_address_survives_at_any_place_of_a_json_text(value: Any) -> None:
    """Keys, values, numbers and nested JSON are masked, in whichever way they are escaped."""
    found = json.loads(masked("email,card", json.dumps([value])))

    def texts(part: Any) -> list[str]:
        if isinstance(part, dict):
            return [*part, *(text for each in part.values() for text in texts(each))]
        return [text for each in part for text in texts(each)] if isinstance(part, list) else [str(part)]

    assert not [text for text in texts(found) if "a@b.io" in text]
