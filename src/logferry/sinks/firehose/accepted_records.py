"""Data records that Firehose has accepted, of objects that are not complete yet. Pure.

Guarantees:
- `waiting` returns the records of an object without those that an earlier attempt has stored.
- A record is recognized by its bytes, and equal records are counted. An object whose closing line has changed repeats
  only the record with this line.
- At most `MAX_DIGESTS` records are kept. Beyond that the objects of the oldest attempts are forgotten. Their records
  are sent again, which is a repetition, and no loss.

Design: Firehose has no idempotent request, so the sink avoids repetitions itself. The state is in memory, because a
restart of the shipper is rare, and readers can remove repetitions by the place of each line.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logferry.sinks.firehose.data_records import Data

MAX_DIGESTS = 8192
"""Maximum number of accepted records that are kept; they take about 1 MB of memory."""
_DIGEST_BYTES = 16


class AcceptedRecords:
    """Digests of accepted records by the key of their object."""

    __slots__ = ("_digests",)

    def __init__(self) -> None:
        self._digests: dict[str, Counter[bytes]] = {}

    def waiting(self, key: str, records: Sequence[Data]) -> Sequence[Data]:
        """Return the records of an object that have not been accepted, in their order."""
        if key not in self._digests:
            return records
        accepted, waiting = self._digests[key].copy(), []
        for record in records:
            digest = _digest(record)
            if accepted[digest] > 0:
                accepted[digest] -= 1
            else:
                waiting.append(record)
        return waiting

    def add(self, key: str, accepted: Iterable[Data]) -> None:
        """Keep the records that an incomplete attempt has stored."""
        digests = self._digests.pop(key, Counter[bytes]())
        digests.update(map(_digest, accepted))
        if digests:
            self._digests[key] = digests
        while self._digests and sum(each.total() for each in self._digests.values()) > MAX_DIGESTS:
            del self._digests[next(iter(self._digests))]

    def forget(self, key: str) -> None:
        """Forget an object that is complete."""
        self._digests.pop(key, None)


def _digest(record: Data) -> bytes:
    return blake2b(record, digest_size=_DIGEST_BYTES).digest()
