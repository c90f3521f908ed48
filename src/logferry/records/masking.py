"""Masking of texts and JSON texts with a list of rules. Pure.

Guarantees:
- A JSON text stays valid JSON. If an expression of the user would break it, the text becomes one JSON string.
- Rules apply to strings, keys and numbers of JSON with their escapes decoded, and to JSON inside a string.
- `may_match` is true for each text that `text` or `json` would change.

Design: masking looks at every string of a JSON text only if the text may contain a match. One expression for all rules
decides that. It reads the text as it is written, and then each string that has escapes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from logferry.records import json_masking
from logferry.records.patterns import Pattern, any_of, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logferry.records.mask_rules import Rule
    from logferry.records.text_block import TextBlock

MAX_NESTING = 4
"""Deepest JSON text inside strings of JSON texts that is masked by its parts; a deeper one is masked as text."""
_RECORD = "record"
_JSON_STARTS = ("{", "[")
_ESCAPED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)++"')
"""String of a JSON text that has an escape. It begins at the first quote: outside strings there is no backslash."""
_NEVER = r"[^\x00-\x{10FFFF}]"
"""Expression that matches nothing."""


class Masker:
    """The rules of an environment. `pattern` matches in each text without JSON that a rule changes."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [rule for rule in rules if rule.path is None]
        self._path_rules = [rule for rule in rules if rule.path is not None]
        self._spanning = [rule for rule in self._rules if rule.spans_tokens]
        patterns = [rule.pattern for rule in rules if rule.pattern]
        names = [rule.path.last_name for rule in self._path_rules if rule.path]
        # An anchor matches at the ends of a string of a JSON text too, which the complete text does not show.
        self._reads_all_json = None in names or any(each.has_line_anchor or each.has_text_anchor for each in patterns)
        patterns = [rule.pattern for rule in self._rules if rule.pattern]
        self.pattern = any_of([*patterns, *(Pattern(re.escape(name)) for name in names if name)] or [Pattern(_NEVER)])

    def may_match(self, text: str, *, nesting: int = 0) -> bool:
        """Return whether a rule may change a text or a JSON text."""
        if self.pattern.matches(text):
            return True
        if nesting >= MAX_NESTING or text.lstrip()[:1] not in _JSON_STARTS:
            return False
        if self._reads_all_json or "\\" not in text:
            return self._reads_all_json
        try:
            return any(self.may_match(json.loads(token), nesting=nesting + 1) for token in _ESCAPED.findall(text))
        except ValueError:  # not JSON
            return True

    def candidates(self, block: TextBlock) -> list[int]:
        """Return the ascending indexes of the texts of a run that a rule may change."""
        found = list(block.candidates(self.pattern))
        if not self._reads_all_json:  # plain records have no escapes but those of JSON itself
            return found
        json_texts = (index for index, text in enumerate(block.texts) if text.lstrip()[:1] in _JSON_STARTS)
        return sorted({*found, *json_texts})

    def text(self, text: str, *, nesting: int = 0) -> str:
        """Return the masked text of a record, which may be JSON."""
        if nesting < MAX_NESTING and text.lstrip()[:1] in _JSON_STARTS and _is_json(text):
            return self.json(text, nesting=nesting)
        return _replaced(text, self._rules)

    def json(self, text: str, *, nesting: int = 0, is_event: bool = False, strings_only: bool = False) -> str:
        """Return the masked JSON text.

        In an event, paths begin at its member `record` too. With `strings_only`, numbers keep their values, and no
        expression extends over several strings.
        """

        def in_string(value: str, place: list[object]) -> str:
            rules = self._rules_at(place, is_event=is_event)
            masked = self.text(value, nesting=nesting + 1) if self.may_match(value, nesting=nesting + 1) else value
            return _replaced(masked, rules) if rules else masked

        def in_number(digits: str, place: list[object]) -> str:
            rules = self._rules_at(place, is_event=is_event)
            return digits if strings_only else _replaced(digits, [*self._rules, *rules])

        def of_value(place: list[object]) -> str | None:
            found = (r for r in self._path_rules if r.pattern is None and _leads_to(r, place, is_event=is_event))
            return next((rule.replacement for rule in found), None)

        masked = json_masking.replace(text, in_string=in_string, in_number=in_number, of_value=of_value)
        spanning = masked if strings_only else _replaced(masked, self._spanning)
        return spanning if spanning == masked or _is_json(spanning) else json.dumps(spanning, ensure_ascii=False)

    def _rules_at(self, place: list[object], *, is_event: bool) -> list[Rule]:
        """Return the rules with a path that leads to a place or to a value that contains it."""
        if not self._path_rules:
            return []
        prefixes = [place[:depth] for depth in range(1, len(place) + 1)]
        return [
            rule
            for rule in self._path_rules
            if rule.pattern and any(_leads_to(rule, prefix, is_event=is_event) for prefix in prefixes)
        ]


def _leads_to(rule: Rule, place: list[object], *, is_event: bool) -> bool:
    assert rule.path  # noqa: S101 - only rules with a path are asked
    return rule.path.matches(place) or (is_event and place[:1] == [_RECORD] and rule.path.matches(place[1:]))


def _replaced(text: str, rules: Iterable[Rule]) -> str:
    """Return a text without the matches of the rules; the same object if there are none."""
    before = masked = as_bytes(text)
    for rule in rules:
        masked = rule.replaced(masked)
    return text if masked is before else masked.decode()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
