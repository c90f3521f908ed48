"""A batch of records on its way into one POST. Pure.

A batch is full when it reaches or passes a limit, so that one record more than fits is in it ("Lambda Telemetry API":
expect `2 * maxBytes + metadata`). A record larger than the limit may be cut: then the first POST ends inside the value,
closed with `}]` all the same, and the next repeats the record's envelope and resumes the bytes; neither is valid JSON
(DataDog/datadog-lambda-extension#1357).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

_RECORD_KEY = b'"record":'


@dataclass(frozen=True, slots=True)
class Piece:
    """An encoded record or a part of one; `completes` is the record delivered with it, None but for the last part."""

    encoded: bytes
    completes: dict[str, Any] | None


@dataclass(slots=True)
class Batch:
    """Pieces in order; `due_at` is the loop time at which they have waited long enough."""

    max_items: int
    max_bytes: int
    due_at: float | None = None
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0
    cut: bool = False
    """Closed because a record was cut: nothing may follow the cut in the same POST."""

    def add(self, piece: Piece) -> None:
        """Append a piece; the limits are looked at afterwards."""
        self.pieces.append(piece)
        self.size += len(piece.encoded)
        self.cut = piece.completes is None

    @property
    def full(self) -> bool:
        """Whether nothing more goes in."""
        return self.cut or self.size >= self.max_bytes or len(self.pieces) >= self.max_items

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records that are delivered once this batch is."""
        return [piece.completes for piece in self.pieces if piece.completes is not None]

    def body(self) -> bytes:
        """The POST's body."""
        return b"[" + b",".join(piece.encoded for piece in self.pieces) + b"]"


def encode(record: dict[str, Any]) -> bytes:
    """The bytes of one record; UTF-8, escaped only where UTF-8 cannot say it (lone surrogates)."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode()


def cut(encoded: bytes, record: dict[str, Any], *, room: int, max_bytes: int) -> list[Piece]:
    """Cut an encoded record into pieces: the first fills `room`, each further one a POST of its own.

    A record no larger than `max_bytes` stays whole.
    """
    if len(encoded) <= max_bytes:
        return [Piece(encoded, record)]
    start = encoded.index(_RECORD_KEY) + len(_RECORD_KEY)
    envelope, value = encoded[:start], encoded[start:-1]
    pieces = []
    size = max(room - len(envelope), 1)
    while len(value) > size:
        pieces.append(Piece(envelope + value[:size] + b"}", None))
        value = value[size:]
        size = max_bytes - len(envelope)
    pieces.append(Piece(envelope + value + b"}", record))
    return pieces
