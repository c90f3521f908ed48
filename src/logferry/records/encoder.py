"""Segment to object: key, body, metadata. Pure: the same segment always gives the same key and the same bytes.

Guarantees:
- A repeated upload overwrites its object. After an ambiguous failure (a lost response, a freeze in the middle of a
  request) the same PUT creates no duplicate.
- Memory is bounded by the compressed size: bodies are read one at a time and compressed as they come.

Design: there is no clock and no random number here. The dates in the key are those of the first record, and the gzip
header carries no time.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

from logferry.records import attribution, decoder
from logferry.records.fast_path import MIN_BATCH_BYTES, TIME, RequestIdCache
from logferry.records.model import Header, StoredObject, iso
from logferry.records.object_key import TIMESTAMP, render_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logferry.records import fast_path
    from logferry.records.model import Header

OUR_KEYS = frozenset({"requestId", "requestIdSource", "environment", "seq"})
"""Keys that are added to an event."""
KINDS = frozenset({"platform", "function", "extension"})
"""Kinds of the platform's records. Records of logferry, and of kinds to come, are always kept."""

BLOCK_CHARACTERS = 64 * 1024
"""Size of a block that is compressed at once, in characters. A batch of a hundred thousand short records does not
become as many lines in memory, and a block that stays in the processor's cache is faster."""
ENDINGS_KEPT = 64
"""Number of cached line ends, for lines of different requests that alternate."""
GZIP_LEVEL = 1
"""Compression level: 3.1 times smaller instead of 3.3 at level 6, for a third of the CPU time."""
_GZIP_WINDOW = 31
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
"""Request IDs that may appear in a key. A record may state any text."""


class _Lines:
    """Lines of a segment, one for each event, with the totals for key and metadata.

    Design: this code is most of the cost of a record. The end of a line is made once for each request, a time is
    checked when it differs from the one before, and the text of an event is copied, never written again.
    """

    def __init__(self, header: Header, types: frozenset[str]) -> None:
        self._header = header
        self._unwanted = frozenset(KINDS - types)
        self._running = header.request_id
        self._time: object = None
        self._request: tuple[str, str] | None = None
        self._ending = self._make_ending(None)
        self._endings: dict[tuple[str, str] | None, str] = {None: self._ending}
        self._request_ids = RequestIdCache()
        self.records = 0
        self.first_time = self.earliest = self.latest = ""
        self.request_id = ""

    def of(self, found: Iterable[decoder.Event | fast_path.RecordRun]) -> Iterator[str]:
        """Yield the lines of events; those of a run in one piece."""
        concurrent, unwanted = self._header.origin.concurrent, self._unwanted
        for event in found:
            if not isinstance(event, decoder.Event):
                if decoder.FUNCTION not in unwanted:
                    yield self._of_run(event)
                continue
            running = self._running = attribution.running_after(self._running, event)
            # The start and the end of an invocation state their request: between them, `running` is the same before
            # and after an event.
            request = attribution.attribute(event, running=running, concurrent=concurrent)
            if unwanted and event.type.partition(".")[0] in unwanted:
                continue
            self.records += 1
            if (time := event.fields.get("time")) != self._time:
                self._note_time(time)
            if request != self._request:
                self._note_request(request)
            yield self._line(event)

    def _of_run(self, run: fast_path.RecordRun) -> str:
        """Return the lines of plain records: the same as one by one, without repeated lookups."""
        concurrent = self._header.origin.concurrent
        inferred = attribution.inferred(decoder.FUNCTION, running=self._running, concurrent=concurrent)
        request_in, lines = self._request_ids.request_in, []
        number, time, ending = self.records, self._time, self._ending
        stated: str | None = ""  # differs from the ID of any record, so that the first is noted
        for record in run:
            if record[TIME] != time:
                time = record[TIME]
                self._note_time(time)
            if (found := request_in(record)) is not stated:
                stated = found
                self._note_request((found, "record") if found else inferred)
                ending = self._ending
            number += 1
            lines.append(f'{record}"{ending}{number:06d}"}}\n')
        self.records = number
        return "".join(lines)

    def _line(self, event: decoder.Event) -> str:
        """Return the text of an event with our keys at its end; an event that has such keys is stored under `event`."""
        ending = f'{self._ending}{self.records:06d}"}}\n'
        if "time" not in event.fields:
            ending = f',"time":"{self.latest or iso(self._header.opened_ms)}"{ending}'
        if not OUR_KEYS.isdisjoint(event.fields):
            return f'{{"event":{event.text}{ending}'
        if not event.fields:
            return "{" + ending[1:]
        return event.text[:-1] + ending

    def _note_time(self, time: object) -> None:
        self._time = time
        if isinstance(time, str) and TIMESTAMP.fullmatch(time):
            self.first_time = self.first_time or time
            self.earliest = min(self.earliest or time, time)
            self.latest = max(self.latest, time)

    def _note_request(self, request: tuple[str, str] | None) -> None:
        self._request = request
        if request not in self._endings:
            if len(self._endings) >= ENDINGS_KEPT:
                self._endings.clear()
            self._endings[request] = self._make_ending(request)
        self._ending = self._endings[request]
        if request and not self.request_id and _REQUEST_ID.fullmatch(request[0]):
            self.request_id = request[0]

    def _make_ending(self, request: tuple[str, str] | None) -> str:
        origin = self._header.origin
        stated = f',"requestId":{json.dumps(request[0])},"requestIdSource":"{request[1]}"' if request else ""
        return f'{stated},"environment":"{origin.environment}","seq":"{self._header.number:08d}-'


def encode(
    header: Header,
    bodies: Iterable[bytes],
    *,
    final: bool,
    key: str,
    compress: bool,
    types: frozenset[str],
    min_batch_bytes: int = MIN_BATCH_BYTES,
) -> StoredObject:
    """Return the object of a segment. `types` are the platform's record types to keep.

    `min_batch_bytes` is set only in tests, as in `decoder.Reader`; the bytes do not depend on it.
    """
    lines = _Lines(header, types)
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW) if compress else None
    blocks = _blocks(lines.of(decoder.read_all(bodies, min_batch_bytes=min_batch_bytes)))
    parts = [packer.compress(block) if packer else block for block in blocks]
    if packer:
        parts.append(packer.flush())
    opened = iso(header.opened_ms)
    return StoredObject(
        key=render_key(key, header, lines.first_time or opened, lines.request_id or "none"),
        body=b"".join(parts),
        metadata={
            "environment": header.origin.environment,
            "segment": str(header.number),
            "records": str(lines.records),
            "first-time": lines.earliest or opened,
            "last-time": lines.latest or opened,
        }
        | ({"final": "true"} if final else {}),
        content_type="application/x-ndjson",
        content_encoding="gzip" if compress else None,
    )


def _blocks(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield the same text in fewer pieces, encoded."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= BLOCK_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
