"""Values of a TOML document as texts of environment variables. Pure.

Guarantees:
- A text is what a user would write into the variable, so that one parser serves both.
- A value that has no such text is a mistake with its remedy. No mistake contains a value.

References: TOML 1.0.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUPS = ("firehose", "https", "s3")
"""Tables that collect the settings with the same beginning: `tags` in `[s3]` is LOGFERRY_S3_TAGS."""
LISTS = ("TYPES", "EXCLUDE_TYPES", "MASK", "LINE_FIELDS")
"""Settings whose value may be an array, because their text is a list with commas."""
PAIRS = ("FIELDS", "HTTPS_HEADERS", "S3_KMS_CONTEXT", "S3_TAGS")
"""Settings whose value may be a table, because their text has the form `name=value,name=value`."""
ESCAPED = ("HTTPS_HEADERS",)
"""Settings of this form whose values have percent escapes."""
MAX_BITS = 63
_NOT_A_TABLE = (
    "is a table, but the tables are [fields], [firehose], [https] and [s3]: write its settings without a table"
)
_KINDS = {"dict": "a table", "list": "an array", "datetime": "a date", "date": "a date", "time": "a time of day"}


def entries(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, name of the setting, text and mistake of each entry. The name of a wrong key is no setting.

    The name of a table with settings of no group is empty.
    """
    for key, name, value in _values(document):
        if isinstance(value, dict) and name not in PAIRS:
            yield key, "", "", _NOT_A_TABLE
            continue
        try:
            yield key, name, text_of(name, value).strip(), ""
        except ValueError as error:
            yield key, name, "", str(error)


def _values(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for key, value in document.items():
        if key in GROUPS and isinstance(value, dict):
            for inner, inner_value in value.items():
                yield f"{key}.{inner}", _name(f"{key}_{inner}"), inner_value
        else:
            yield key, _name(key), value


def _name(key: str) -> str:
    return key.upper() if key == key.lower() else key


def text_of(name: str, value: Any) -> str:
    """Return a value as the text of a variable. Raise ValueError with the remedy."""
    # Three cases: 1. a single value, 2. an array for a list, 3. a table for pairs of name and value.
    if isinstance(value, (str, bool, int, float)):
        return _single(value)
    if isinstance(value, list) and name in LISTS:
        return ",".join([_element(element) for element in value])
    if isinstance(value, dict) and name in PAIRS:
        return ",".join([_pair(first, second, is_escaped=name in ESCAPED) for first, second in value.items()])
    raise ValueError(f"is {_KINDS[type(value).__name__]}: use a string, a number, true or false")


def _single(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("is a number that is too large: TOML has numbers of 64 bits")
    return value if isinstance(value, str) else repr(value)


def _element(value: Any) -> str:
    if not isinstance(value, (str, bool, int, float)):
        raise ValueError(  # noqa: TRY004 - a mistake of the user
            f"contains {_KINDS[type(value).__name__]}: use strings, numbers, true or false"
        )
    return _single(value)


def _pair(name: str, value: Any, *, is_escaped: bool) -> str:
    text = _element(value)
    if is_escaped:
        text = text.replace("%", "%25").replace(",", "%2C")
    if "," in name or "=" in name or "," in text:
        raise ValueError(f"has {name!a}, but a name cannot contain ',' or '=', and a value cannot contain ','")
    return f"{name}={text}"
