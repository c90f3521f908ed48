"""The canary: a small object that is stored as the extension stores its objects.

Guarantees:
- All readers ignore the canary: the last two parts of its key begin with `_`, as query engines, `verify` and the other
  commands require for names that are not data.
- A second check overwrites the canary of the first, so that at most one remains under a prefix. The name is unique if
  the settings forbid to overwrite an object.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from logferry.records.model import StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "_logferry_check"
NAME = "_canary"
BODY = b'{"message":"logferry check has stored this object. It can be deleted."}\n'


def canary_of(*, object_headers: Mapping[str, str], folder: str = FOLDER) -> StoredObject:
    """Return the canary for a request with these further headers."""
    suffix = f"-{secrets.token_hex(8)}" if "if-none-match" in object_headers else ""
    return StoredObject(
        key=f"{folder}/{NAME}{suffix}",
        body=BODY,
        metadata={"logferry-check": "canary"},
        content_type="application/x-ndjson",
    )
