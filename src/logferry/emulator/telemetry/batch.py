"""A batch of encoded records for one request. Pure.

Guarantees:
- A batch is full when it reaches or exceeds a limit, so its last record may exceed `maxBytes` ("Lambda
  Telemetry API": expect `2 * maxBytes + metadata`).
- A split record ends inside its value in one batch, followed by `}]`. The next batch repeats the
  envelope of the record and continues its bytes. Neither batch is valid JSON.

References: DataDog/datadog-lambda-extension#1357 (split records).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_RECORD_KEY = b'"record":'


@dataclass(frozen=True, slots=True)
class Fragment:
    """An encoded record or a part of one.

    `completes` is the record that is delivered with this fragment, and None for all but the last part.
    """

    encoded: bytes
    completes: dict[str, Any] | None


@dataclass(slots=True)
class Batch:
    """Fragments in order; `due_at` is the loop time at which `timeoutMs` has passed."""

    max_items: int
    max_bytes: int
    due_at: float | None = None
    fragments: list[Fragment] = field(default_factory=list)
    size: int = 0
    ends_in_split: bool = False
    """Whether the last record is split. No record may follow it in the same request."""

    def add(self, fragment: Fragment) -> None:
        """Append a fragment; the caller checks the limits afterwards."""
        self.fragments.append(fragment)
        self.size += len(fragment.encoded)
        self.ends_in_split = fragment.completes is None

    @property
    def full(self) -> bool:
        """Whether the batch accepts no further fragment."""
        return self.ends_in_split or self.size >= self.max_bytes or len(self.fragments) >= self.max_items

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records that the delivery of this batch completes."""
        return [fragment.completes for fragment in self.fragments if fragment.completes is not None]

    def remove(self, matches: Callable[[dict[str, Any]], bool]) -> list[Fragment]:
        """Remove and return the unsplit records that match."""
        removed = [
            fragment
            for previous, fragment in zip([None, *self.fragments], self.fragments, strict=False)
            if fragment.completes is not None
            and (previous is None or previous.completes is not None)
            and matches(fragment.completes)
        ]
        removed_ids = {id(fragment) for fragment in removed}
        self.fragments = [fragment for fragment in self.fragments if id(fragment) not in removed_ids]
        self.size -= sum(len(fragment.encoded) for fragment in removed)
        if not self.fragments:
            self.due_at = None
        return removed

    def body(self) -> bytes:
        """Return the body of the request."""
        return b"[" + b",".join(fragment.encoded for fragment in self.fragments) + b"]"


def encode(record: dict[str, Any]) -> bytes:
    """Return the bytes of one record in UTF-8; escape all non-ASCII if it has lone surrogates."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode()


def split(encoded: bytes, record: dict[str, Any], *, space: int, max_bytes: int) -> list[Fragment]:
    """Split an encoded record: the first fragment fills `space`, each further one a separate request.

    A record of up to `max_bytes` is not split.
    """
    if len(encoded) <= max_bytes:
        return [Fragment(encoded, record)]
    start = encoded.index(_RECORD_KEY) + len(_RECORD_KEY)
    envelope, value = encoded[:start], encoded[start:-1]
    fragments = []
    size = max(space - len(envelope), 1)
    while len(value) > size:
        fragments.append(Fragment(envelope + value[:size] + b"}", None))
        value = value[size:]
        size = max_bytes - len(envelope)
    fragments.append(Fragment(envelope + value + b"}", record))
    return fragments
