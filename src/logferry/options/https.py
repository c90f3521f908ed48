"""Settings of requests to a receiver on the web: a token and headers.

Guarantees:
- A valid set of values gives headers that HTTP can carry, and none that logferry sets itself.
- No message and no `repr` contains a value.

References: RFC 9110, section 5 (fields); RFC 6750, section 2.1 (bearer tokens); OpenTelemetry, "OTLP Exporter
Configuration" (the same form of the headers).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from logferry.setting import Setting, hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_VALUE = r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?"
_TOKEN = r"[\x21-\x7e]+"  # noqa: S105 - the pattern of a token
_RESERVED = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("idempotency-key", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that logferry sets itself, or that would change the meaning of the request."""


def _token(text: str) -> str:
    if text and not re.fullmatch(_TOKEN, text, re.ASCII):
        raise ValueError("a token has no spaces and only ASCII characters: give the token alone, without Bearer")
    return text


def _headers(text: str) -> dict[str, str]:
    """Return `name=value,name=value` as headers. Raise ValueError with the remedy, without a value."""
    found: dict[str, str] = {}
    for position, item in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        name, equals, value = (part.strip() for part in item.partition("="))
        value = unquote(value)
        if not equals or not re.fullmatch(_NAME, name, re.ASCII):
            raise ValueError(f"header {position} is not a pair: use name=value,name=value, and %2C for a comma")
        if not re.fullmatch(_VALUE, value, re.ASCII):
            raise ValueError(f"the value of {name} is empty or has a character that is not allowed: use visible ASCII")
        if name.lower() in _RESERVED:
            raise ValueError(f"logferry sets {name} itself: remove it")
        if name.lower() in found:
            raise ValueError(f"{name} is there twice: remove one")
        found[name.lower()] = value
    return found


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("HTTPS_TOKEN", "", "a token", "bearer token of an `https://` destination, sent in the `Authorization` header", _token, hidden),
    Setting("HTTPS_HEADERS", "", "`name=value,name=value`", "further headers of requests to an `https://` destination; `%2C` stands for a comma in a value", _headers, hidden),
)  # fmt: skip


class HttpsOptions(NamedTuple):
    """The valid settings of this table, as headers of a request."""

    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<HttpsOptions {' '.join(self.headers)}>"


def contradictions(parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    if parsed.get("HTTPS_TOKEN") and "authorization" in parsed.get("HTTPS_HEADERS", {}):
        yield "LOGFERRY_HTTPS_TOKEN and the header Authorization of LOGFERRY_HTTPS_HEADERS exclude each other: remove one"


def read(parsed: Mapping[str, Any]) -> HttpsOptions:
    """Return the options of the parsed values."""
    token = parsed["HTTPS_TOKEN"]
    return HttpsOptions({**({"authorization": f"Bearer {token}"} if token else {}), **parsed["HTTPS_HEADERS"]})
