r"""Rules of masking: presets, expressions of the user, and JSON paths. Pure.

Guarantees:
- A rule replaces a match by its name in brackets, such as `[email]`. With a group, it replaces only the group.
- A preset with a check (card, ipv4, ipv6) leaves what fails the check.
- The time of a rule is bounded by its text, also if each match reads the rest of the text (`MAX_WORK_BYTES`).

Design: the presets prefer a replacement too many to one too few. An access key of AWS has a prefix, a secret key has
none and is found only next to its name. A card number begins with 2 to 6 and passes the Luhn check, which a tenth of
all numbers do; epoch times begin with 1.

References: ISO/IEC 7812-1 (card numbers); RFC 6750 (bearer tokens); RFC 7519 (JWT); IAM User Guide, "IAM identifiers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logferry.records.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.records.json_path import JsonPath

MAX_WORK_BYTES = 1 << 30
"""Matches of an expression in a text, times the size of the text. The rest behind the last match is masked.

RE2 may read the rest of the text to find the end of a match, so the time for all matches is not linear.
"""
MASKED = "masked"
"""Name of a rule without a name."""
_CARD_DIGITS = range(13, 20)
_CARD_BEGINS = (b"2", b"3", b"4", b"5", b"6")
_DIGITS = re.compile(rb"\d+")


class Rule(NamedTuple):
    """A rule: the expression, the replacement, a check of each match, and the path if it applies to one only."""

    name: str
    pattern: Pattern | None
    check: Callable[[bytes, int, int], tuple[int, int] | None] | None = None
    """Return the part of a match to replace, or None. Without a check, a match or its group is replaced."""
    spans_tokens: bool = False
    """Whether a match can extend over several strings of a JSON text, such as a key and its value."""
    path: JsonPath | None = None
    """Path of the values that the rule applies to. Without a pattern, it replaces the complete value."""

    @property
    def replacement(self) -> str:
        """Text that replaces a match."""
        return f"[{self.name}]"

    def replaced(self, text: bytes) -> bytes:
        """Return a text without the matches of the pattern."""
        assert self.pattern  # noqa: S101 - a rule without a pattern replaces complete values
        search, group, parts = self.pattern.search, min(self.pattern.groups, 1), []
        position = kept = 0
        matches = -1 if self.name in _PRESETS else MAX_WORK_BYTES // (len(text) + 1)
        while position <= len(text) and (match := search(text, position)):
            start, end = match.span(group)
            if group and start < 0:  # the group takes no part in this match
                start, end = match.span()
            after = max(match.span()[1], position + 1)
            if self.check:
                found = self.check(text, start, end)
                if found is None:
                    position = self._after_rejected(text, start, after)
                    continue
                start, end = found
                after = end
            if end > start:
                parts += [text[kept:start], self.replacement.encode()]
                kept = end
                matches -= 1
                if not matches:
                    return b"".join(parts)
            position = after
        return b"".join([*parts, text[kept:]]) if parts else text

    def _after_rejected(self, text: bytes, start: int, after: int) -> int:
        """Return where to search next: behind the first digits of what may begin a card number further on."""
        digits = _DIGITS.match(text, start) if self.check is _card else None
        return digits.end() if digits else after


def _ipv4(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Reject numbers in a longer dotted sequence, such as an object identifier."""
    before = text[max(0, start - 2) : start]
    longer = (before[1:] == b"." and before[:1].isdigit()) or (
        text[end : end + 1] == b"." and text[end + 1 : end + 2].isdigit()
    )
    return None if longer else (start, end)


def _ipv6(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Accept what is an address, except for `::`, which many languages use as an operator."""
    import ipaddress  # noqa: PLC0415 - only a text with two colons needs it

    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if before.isalnum() or before in (b":", b"_") or after.isalnum() or after in (b":", b"_"):
        return None
    try:
        address = ipaddress.IPv6Address(text[start:end].decode())
    except ValueError:
        return None
    return None if address.is_unspecified else (start, end)


def _card(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Return the groups of digits that are a card number, and not those before and behind them.

    Two numbers that overlap are replaced together, because only one of them is real.
    """
    groups = [match.span() for match in _DIGITS.finditer(text, start, end)]
    found: tuple[int, int] | None = None
    for first, (begin, _) in enumerate(groups):
        number = b""
        for low, high in groups[first:]:
            number += text[low:high]
            if len(number) in _CARD_DIGITS and number[:1] in _CARD_BEGINS and _passes_luhn(number):
                found = (found[0], max(found[1], high)) if found else (begin, high)
    return found


def _passes_luhn(digits: bytes) -> bool:
    values = [digit - ord("0") for digit in reversed(digits)]
    return sum(values[0::2], sum(sum(divmod(2 * value, 10)) for value in values[1::2])) % 10 == 0


_NAME_OF_KEY = r"(?i:secret_?(?:access_?)?key|session_?token|security-token)(?:\\*[\"'])?\s*(?:[:=]|=>)\s*(?:\\*[\"'])?"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_HEX = "[0-9A-Fa-f]{1,4}"
_ADDRESS = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_TAIL = rf"(?:(?:{_HEX}:)*{_ADDRESS}|{_HEX}(?::{_HEX})*)"
_PRESETS: dict[str, tuple[str, Callable[[bytes, int, int], tuple[int, int] | None] | None, bool]] = {
    "email": (r"[\pL\pN._%+-]+@[\pL\pN-]+(?:\.[\pL\pN-]+)+", None, False),
    "ipv4": (rf"\b{_ADDRESS}\b", _ipv4, False),
    "ipv6": (rf"(?:{_HEX}:){{6,7}}{_TAIL}|(?:\b{_HEX}(?::{_HEX})*)?::{_TAIL}?", _ipv6, False),
    "aws-keys": (
        rf"{_NAME_OF_KEY}([A-Za-z0-9/+=%]{{40,}})|\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{{16}}\b",
        None,
        True,
    ),
    "jwt": (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}", None, False),
    "bearer": (r"(?i:\bbearer[ :=]+)([A-Za-z0-9._~+/-]{8,}=*)", None, False),
    "card": (r"\b[2-6](?:[ -]?\d){12,18}\b", _card, False),
}
PRESETS = tuple(_PRESETS)
"""Names of the presets."""


def preset(name: str) -> Rule:
    """Return the rule of a preset."""
    source, check, spans_tokens = _PRESETS[name]
    return Rule(name, Pattern(source), check, spans_tokens=spans_tokens)


def custom(source: str, *, name: str = MASKED, path: JsonPath | None = None) -> Rule:
    """Return a rule of the user. Raise ValueError with the remedy."""
    pattern = Pattern(source)
    if pattern.groups > 1:
        raise ValueError("the pattern has several groups, and only one can be replaced: use (?:…) for the others")
    if pattern.search(b"") is not None:
        raise ValueError("the pattern matches the empty text: require at least one character, such as + instead of *")
    return Rule(name, pattern, spans_tokens=path is None, path=path)


def value_at(path: JsonPath, *, name: str = MASKED) -> Rule:
    """Return the rule that replaces the complete value at a path."""
    return Rule(name, None, path=path)
