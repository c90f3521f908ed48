"""Patterns of hosts that are not recorded, and of parts of a URL that are masked.

Design: most calls need none of them, so the module is imported with the first long path, query or pattern.
"""

import re

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MASK = "***"
SECRET = re.compile("(?:[A-Za-z0-9+=_-]|%2[BbFf]|%3[Dd]){40}")
"""A part of a path that looks like a secret in base64 (also percent-encoded) or hexadecimal digits."""
BARE_NAME = re.compile("[A-Za-z_-]{1,30}")
"""A parameter of a query without a value, such as `acl`. Another one may be a value without a name."""


def host_matcher(patterns: "Iterable[str]") -> "Callable[[str], object]":
    """Return a function that returns whether a pattern matches a host with its port.

    `*` stands for any characters. A pattern without a port matches each port.
    """
    expressions = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return re.compile("(?:%s)(?::[0-9]+)?" % "|".join(expressions)).fullmatch


def masked_path(path: str) -> str:
    """Return a path in which each part that looks like a secret is masked."""
    return "/".join(map(_masked, path.split("/"))) if SECRET.search(path) else path


def masked_query(query: str) -> str:
    """Return a query with the names of its parameters and masked values."""
    return "&".join(map(_masked_parameter, query.split("&")))


def _masked(text: str) -> str:
    return MASK if SECRET.search(text) else text


def _masked_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return name if BARE_NAME.fullmatch(name) else MASK
    return _masked(name) + equals + MASK
