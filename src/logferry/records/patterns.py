r"""Regular expressions with a bounded run time, through RE2.

Guarantees:
- A search takes time linear in the text, for every pattern. Look-around and backreferences are refused, because no
  engine can bound them.
- `^` and `$` match at the beginning and at the end of each line of a text.
- An invalid pattern raises ValueError with the mistake and its remedy.

Design: `re` backtracks. Even `\w+@` needs quadratic time there, and a pattern such as `(a+)+b` would stop the listener.
RE2 searches a gigabyte in 0.9 s for any pattern, and `re` needs 9 to 25 s for those of the presets. The text is bytes:
RE2 reads UTF-8, and its wrapper would encode each text again.

References: github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_MEMORY_BYTES = 2 * 1024 * 1024
"""Maximum memory of a pattern, in bytes. RE2's default is 8 MiB, a sixteenth of the smallest function."""
MAX_CHARACTERS = 2000
"""Longest pattern. Lambda limits all environment variables together to 4 KB."""
_LINES = "(?m)"
_NO_LOOK_AROUND = "RE2 has neither look-around nor backreferences, because their run time is unbounded"
_TEXT_ANCHOR = re.compile(r"\\[AzQ]|\(\?[a-zA-Z]*-")
"""Anchor of the complete text, or the beginning of a quotation or of an option, which could make one."""


class Pattern:
    """A compiled expression. `search(text, position)` returns a match with `span`, or None."""

    __slots__ = ("groups", "has_line_anchor", "has_text_anchor", "search", "source")

    def __init__(self, source: str) -> None:
        """Compile an expression. Raise ValueError with the remedy."""
        if len(source) > MAX_CHARACTERS:
            raise ValueError(f"the pattern is longer than {MAX_CHARACTERS} characters: shorten it")
        compiled = _compile(_LINES + source)
        self.source = source
        self.search: Callable[..., Any] = compiled.search
        self.groups: int = compiled.groups
        self.has_text_anchor = _TEXT_ANCHOR.search(source) is not None
        """Whether the pattern may match at the ends of a text only, so that texts cannot be joined."""
        self.has_line_anchor = "^" in source or "$" in source

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in a text."""
        return self.search(as_bytes(text)) is not None

    @property
    def matches_nothing_at_all(self) -> bool:
        """Whether the pattern matches the empty text, so that it would match everywhere."""
        return self.search(b"") is not None and self.search(b"\x01") is not None


def any_of(patterns: list[Pattern]) -> Pattern:
    """Return a pattern that matches where one of the others matches."""
    return Pattern("|".join(f"(?:{pattern.source})" for pattern in patterns))


def as_bytes(text: str) -> bytes:
    """Return a text in UTF-8. Half of a surrogate pair has no encoding and becomes a question mark."""
    return text.encode(errors="replace")


def _compile(source: str) -> Any:
    try:
        import re2  # noqa: PLC0415 - a start without patterns does not need it
    except ImportError:
        raise ValueError("patterns need the package google-re2: use the full layer") from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY_BYTES
    try:
        return re2.compile(source.encode(), options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        hint = f" ({_NO_LOOK_AROUND})" if "invalid perl operator" in reason or "escape sequence" in reason else ""
        raise ValueError(f"the pattern is not valid: {reason}{hint}") from None
    except UnicodeEncodeError:
        raise ValueError("the pattern is not valid UTF-8") from None
