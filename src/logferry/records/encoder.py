"""A segment to one object: key, body, metadata. Pure: the same segment always gives the same key and the same bytes.

That is what makes a repeated upload harmless: after an ambiguous failure (the answer was lost, the environment was
frozen in the middle) the same PUT overwrites itself instead of making a duplicate. So there is no clock here and no
random number: the dates in the key are those of the first record, the gzip header carries no time.

Bodies are read one at a time and compressed as they come, so that memory is bounded by the compressed size.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

from logferry.records import attribution, decoder
from logferry.records.fast_path import TIME, WORTHWHILE_BYTES
from logferry.records.model import Header, StoredObject, iso
from logferry.records.object_key import TIMESTAMP, render_key
from logferry.records.request_id import RequestIdCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logferry.records import fast_path
    from logferry.records.model import Header

OURS = frozenset({"requestId", "requestIdSource", "environment", "seq"})
"""The keys that are added to an event."""
KINDS = frozenset({"platform", "function", "extension"})
"""The platform's kinds of records; our own, and such as come in the future, are always kept."""

BLOCK_CHARACTERS = 64 * 1024
"""That are compressed at once, about: a body of a hundred thousand short records does not become as many lines in
memory, and what stays in the processor's cache is faster."""
ENDINGS_KEPT = 64
"""Lines that name their request and lines that do not take turns."""
GZIP_LEVEL = 1
"""3.1 times smaller instead of 3.3 at level 6, for a third of the CPU time, which the function pays."""
_GZIP_WINDOW = 31
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
"""What may go into a key: a record may say anything."""


class _Lines:
    """The lines of a segment, one for each event, and what is learnt on the way.

    Written for speed: this is most of what a record costs. So the end of a line is made once for each request, a time
    is looked at when it differs from the one before, and the event's own text is never made anew.
    """

    def __init__(self, header: Header, types: frozenset[str]) -> None:
        self._header = header
        self._unwanted = frozenset(KINDS - types)
        self._running = header.request_id
        self._time: object = None
        self._request: tuple[str, str] | None = None
        self._ending = self._make_ending(None)
        self._endings: dict[tuple[str, str] | None, str] = {None: self._ending}
        self._plain_names = RequestIdCache()
        self.records = 0
        self.first_time = self.earliest = self.latest = ""
        self.request_id = ""

    def of(self, found: Iterable[decoder.Event | fast_path.Run]) -> Iterator[str]:
        """The lines of some events; those of a run in one piece."""
        concurrent, unwanted = self._header.origin.concurrent, self._unwanted
        for event in found:
            if not isinstance(event, decoder.Event):
                if decoder.FUNCTION not in unwanted:
                    yield self._of_run(event)
                continue
            running = self._running = attribution.running_after(self._running, event)
            # The start and the end of an invocation name their request themselves: between them, `running` is the
            # same before and after an event.
            request = attribution.attribute(event, running=running, concurrent=concurrent)
            if unwanted and event.type.partition(".")[0] in unwanted:
                continue
            self.records += 1
            if (time := event.fields.get("time")) != self._time:
                self._note_time(time)
            if request != self._request:
                self._note_request(request)
            yield self._line(event)

    def _of_run(self, run: fast_path.Run) -> str:
        """The lines of plain records: the same as one by one, with nothing looked up that is the same for many."""
        concurrent = self._header.origin.concurrent
        inferred = attribution.inferred(decoder.FUNCTION, running=self._running, concurrent=concurrent)
        request_in, lines = self._plain_names.request_in, []
        number, time, ending = self.records, self._time, self._ending
        stated: str | None = ""  # unlike what any record names, so that the first is looked at
        for record in run:
            if record[TIME] != time:
                time = record[TIME]
                self._note_time(time)
            if (named := request_in(record)) is not stated:
                stated = named
                self._note_request((named, "record") if named else inferred)
                ending = self._ending
            number += 1
            lines.append(f'{record}"{ending}{number:06d}"}}\n')
        self.records = number
        return "".join(lines)

    def _line(self, event: decoder.Event) -> str:
        """The event's own text with our keys at its end; one that has such keys itself is kept whole under `event`."""
        ending = f'{self._ending}{self.records:06d}"}}\n'
        if "time" not in event.fields:
            ending = f',"time":"{self.latest or iso(self._header.opened_ms)}"{ending}'
        if not OURS.isdisjoint(event.fields):
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
    plain_from: int = WORTHWHILE_BYTES,
) -> StoredObject:
    """One object from one segment. `types` are the platform's record types to keep; our own are always kept.

    `plain_from` is only for testing, as in `telemetry.Reader`: it makes no difference to the bytes.
    """
    lines = _Lines(header, types)
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW) if compress else None
    blocks = _blocks(lines.of(decoder.all_of(bodies, plain_from=plain_from)))
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
    """The same text in fewer pieces, encoded."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= BLOCK_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
