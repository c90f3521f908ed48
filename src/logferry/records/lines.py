"""Lines of an object in format 1, one for each record of a segment. Pure.

Guarantees:
- Every value of a line is a string or an integer, and every line has only the columns of the format.
- `message` is a record that is a string, and `record` is the JSON text of any other record. `event` is the JSON text of
  an element whose members are not exactly those of an event.
- A line is valid JSON without a lone surrogate, and `time` is a time that exists.
- The delivered value can be restored from each line, byte for byte.
- A record gives the same bytes whether `fast_path` or `decoder` has read it.

Design: this code is most of the cost of a record. The end of a line is made once for each request, and a time is
checked when it differs from the one before. JSON text is escaped by two replacements and never written again.

A key of the object describes its content: the invocation that ran. The first record of a segment is often the report of
the previous invocation, or an Init phase that ended hours earlier (provisioned concurrency) or weeks earlier
(SnapStart). `Anchor` therefore prefers `platform.start` and the lines of an invocation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from logferry.records import attribution, bounded_json, decoder
from logferry.records.fast_path import TEXT, TIME, RequestIdCache
from logferry.records.internal import ATTRIBUTION, FORMAT, NOTES, PREFIX, SENT
from logferry.records.model import iso
from logferry.records.started_requests import StartedRequests
from logferry.records.timestamps import is_canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logferry.records import fast_path
    from logferry.records.model import Header

    Request = tuple[str, str] | None

KINDS = frozenset({"platform", "function", "extension"})
"""Kinds of the platform's records. Records of logferry, and of kinds to come, are always kept."""
ENDINGS_KEPT = 64
"""Number of cached line ends, for lines of different requests that alternate."""
WORST_RANK = 4
"""Rank without any record."""
RECORD_END = '"}'
"""End of a plain record, which a run omits."""
_BEFORE_AN_INVOCATION = ("platform.init", "platform.restore")
_TAB, _ESCAPED_TAB = "\t", r"\t"


class Anchor(NamedTuple):
    """Record that gives an object its time and request; a smaller rank is better."""

    rank: int
    time: str
    request_id: str | None


class Lines:
    """Lines of a segment, with the totals for key and metadata."""

    FORMAT = str(FORMAT)
    """Format in the metadata of the object."""
    CONTENT_TYPE = "application/x-ndjson"
    """Content type of an object that is not compressed."""

    def __init__(self, header: Header, types: frozenset[str]) -> None:
        self._header = header
        self._unwanted = frozenset(KINDS - types)
        self._running = header.request_id
        self._noted: Request = None
        self._is_provisional = False
        self._held: list[tuple[decoder.Event, Request]] = []
        """Events of the function whose request is provisional, with this request."""
        self._settled: list[tuple[decoder.Event, Request]] = []
        self._started = StartedRequests(header.started)
        self._request_ids = RequestIdCache(self._started)
        self._time: object = None
        self._time_is_canonical = False
        self._request: Request = None
        self._endings: dict[Request, str] = {}
        self._columns: dict[str, str] = {}
        self._ending = self._make_ending(None)
        self._anchor = Anchor(WORST_RANK, "", None)
        self.records = 0
        self.earliest = self.latest = ""

    @property
    def key_time(self) -> str:
        """Time of the invocation in the segment, or of the segment if no record has one."""
        return self._anchor.time or iso(self._header.opened_ms)

    @property
    def key_request_id(self) -> str:
        """Request of the invocation in the segment, or `none`."""
        return self._anchor.request_id or "none"

    def of(self, found: Iterable[decoder.Event | fast_path.RecordRun]) -> Iterator[str]:
        """Yield the lines of events; those of a run in one piece."""
        concurrent, unwanted, request_in = self._header.origin.concurrent, self._unwanted, self._request_in
        cached, inferred = self._request_ids.request_in, attribution.inferred
        for event in found:
            if not isinstance(event, decoder.Event):
                if decoder.FUNCTION not in unwanted:
                    yield self._of_run(event)
                continue
            if event.type != decoder.FUNCTION and not self._take_note(event):
                if self._settled:
                    yield from self._of_settled()
                continue
            if unwanted and event.type.partition(".")[0] in unwanted:
                continue
            # The start and the end of an invocation state their request: between them, `running` is the same before
            # and after an event.
            if event.type == decoder.FUNCTION:
                # The same rule as in `attribute`, without its calls: most records are lines of the function.
                stated = cached(event.value or event.text, 1, "")
                line = inferred(decoder.FUNCTION, running=self._running, concurrent=concurrent)
                request = (stated, "record") if stated else line
            else:
                request = attribution.attribute(
                    event, running=self._running, request_in=request_in, concurrent=concurrent, noted=self._noted
                )
            yield self._of_event(event, request)
        self._settled, self._held = self._held, []
        yield from self._of_settled()

    def _of_event(self, event: decoder.Event, request: Request) -> str:
        self.records += 1
        if (time := event.fields.get("time")) != self._time:
            self._note_time(time)
        if request != self._request:
            self._note_request(request)
        if self._anchor.rank:
            self._note_anchor(event.type)
        return self._line(event)

    def _of_settled(self) -> Iterator[str]:
        """Yield the lines of the function's own events whose request has been settled."""
        for event, request in self._settled:
            yield self._of_event(event, request)
        self._settled = []

    def _take_note(self, event: decoder.Event) -> bool:
        """Update the state of the invocations and return whether the event is a record to store now."""
        # Three cases of the function's own events: 1. a note with the request of those behind it, 2. a note that
        # settles the requests of those held, 3. an event that is held.
        if event.type == ATTRIBUTION:
            self._noted, self._is_provisional = attribution.noted_request(event), attribution.is_provisional(event)
            if settled := attribution.settled_requests(event):
                # The note may begin with events of the segment before, so the last ones correspond.
                last = reversed(list(zip(reversed(self._held), reversed(settled), strict=False)))
                self._settled, self._held = [attribution.settle(held, part) for (held, _), part in last], []
            return False
        if self._is_provisional and event.type in SENT:
            self._held.append((event, self._noted))
            return False
        if event.type in attribution.STARTS and (started := attribution.platform_request(event)):
            self._started.add(started)
            self._request_ids.clear()
        self._running = attribution.running_after(self._running, event)
        return event.type not in NOTES

    def _request_in(self, value: str) -> str | None:
        return self._request_ids.request_in(value, 1, "")

    def counts(self) -> dict[str, int]:
        """Return further numbers of the closing record and the metadata. Subclasses that change records have some."""
        return {}

    def closing_members(self) -> dict[str, object]:
        """Return further members of the closing record."""
        return {}

    def closing(self, kind: str, record: str) -> str:
        """Return the last line of the object, which is not counted as a record."""
        time = self.latest or iso(self._header.opened_ms)
        ending = f"{self._make_ending(None)}{self.records + 1}}}\n"
        return f'{{"time":"{time}","type":"{kind}","record":{quoted(record)}{ending}'

    def _of_run(self, run: fast_path.RecordRun) -> str:
        """Return the lines of plain records: the same as one by one, without repeated lookups."""
        concurrent = self._header.origin.concurrent
        inferred = attribution.inferred(decoder.FUNCTION, running=self._running, concurrent=concurrent)
        request_in, lines = self._request_ids.request_in, []
        number, time, ending, head, rank = self.records, "", self._ending, "", self._anchor.rank
        stated: str | None = ""  # differs from the ID of any record, so that the first is noted
        for record in run:
            if (found := request_in(record)) is not stated:
                stated = found
                self._note_request((found, "record") if found else inferred)
                ending = self._ending
            if record[TIME] != time:
                time = record[TIME]
                self._note_time(time)
                head = f'{{"time":"{time}","type":"function","message":"'
            if rank:
                rank = self._note_anchor(decoder.FUNCTION)
            number += 1
            if self._time_is_canonical:
                lines.append(f'{head}{record[TEXT]}"{ending}{number}}}\n')
            else:
                lines.append(f"{self._event_head(decoder.FUNCTION, record + RECORD_END)}{ending}{number}}}\n")
        self.records = number
        return "".join(lines)

    def _line(self, event: decoder.Event) -> str:
        """Return the line of an event."""
        ending = f"{self._ending}{self.records}}}\n"
        value, record = event.value, event.fields.get("record")
        # Four cases: 1. an object (or a number, a list, null), 2. a text, 3. a record of logferry without a time,
        # 4. an element that is not exactly an event of the platform.
        kind = self._columns.get(event.type) or self._make_column(event.type)
        if value is not None and self._time_is_canonical and kind:
            if not isinstance(record, str):
                return f'{{"time":"{self._time}",{kind}"record":{quoted(value)}{ending}'
            # Only a numeric escape can be a lone surrogate.
            if "\\u" not in value or bounded_json.is_text(record):
                return f'{{"time":"{self._time}",{kind}"message":{value}{ending}'
        if value is not None and event.type.startswith(PREFIX):
            return f'{{"time":"{self._time_or_latest}",{kind}"record":{quoted(value)}{ending}'
        return self._event_head(event.type, event.text) + ending

    @property
    def _time_or_latest(self) -> str:
        return str(self._time) if self._time_is_canonical else self.latest or iso(self._header.opened_ms)

    def _make_column(self, kind: str) -> str:
        """Return the column `type`, empty if its value is not text."""
        column = f'"type":{json.dumps(kind)},' if bounded_json.is_text(kind) else ""
        if len(self._columns) >= ENDINGS_KEPT:
            self._columns.clear()
        self._columns[kind] = column
        return column

    def _event_head(self, kind: str, text: str) -> str:
        """Return the beginning of the line of an element that is not exactly an event of the platform."""
        column = self._make_column(kind) if kind else ""
        return f'{{"time":"{self._time_or_latest}",{column}"event":{quoted(text)}'

    def _note_time(self, time: object) -> None:
        self._time = time
        self._time_is_canonical = is_canonical(time)
        if self._time_is_canonical:
            text = str(time)
            self.earliest = min(self.earliest or text, text)
            self.latest = max(self.latest, text)

    def _note_request(self, request: Request) -> None:
        self._request = request
        if request not in self._endings:
            if len(self._endings) >= ENDINGS_KEPT:
                self._endings.clear()
            self._endings[request] = self._make_ending(request)
        self._ending = self._endings[request]

    def _note_anchor(self, kind: str) -> int:
        """Note the current record if it identifies the object better than those before it; return the rank."""
        request_id = self._request[0] if self._request else None
        rank = _rank(kind, request_id)
        if self._time_is_canonical and rank < self._anchor.rank:
            self._anchor = Anchor(rank, str(self._time), request_id)
        return self._anchor.rank

    def _make_ending(self, request: Request) -> str:
        stated = f',"requestId":"{request[0]}","requestIdSource":"{request[1]}"' if request else ""
        return f'{stated},"environment":"{self._header.origin.environment}","segment":{self._header.number},"line":'


def quoted(json_text: str) -> str:
    """Return JSON text as a JSON string. It has no control characters except for tabs between its tokens."""
    text = json_text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text.replace(_TAB, _ESCAPED_TAB)}"' if _TAB in text else f'"{text}"'


def _rank(kind: str, request_id: str | None) -> int:
    # Four cases: 1. the start or a line of an invocation, 2. any other line, 3. an event of the environment,
    # 4. the end of an invocation or an Init phase, which may be much earlier than the next invocation.
    if kind == decoder.START or (kind == decoder.FUNCTION and request_id):
        return 0
    if not kind.startswith((attribution.PLATFORM, PREFIX)):
        return 1
    return WORST_RANK - 1 if kind in attribution.ENDS or kind.startswith(_BEFORE_AN_INVOCATION) else 2
