"""Lines of an object whose records are selected, masked, or have further columns. Pure.

Guarantees:
- Each record is stored or counted as filtered. The lines are numbered without a gap.
- A record is selected and attributed by what the platform delivered, and only then masked.
- If a rule of masking fails, a text that states this replaces the record, and the record is counted. If a rule of
  selection fails, the record is kept and counted.
- Reports of losses are neither dropped nor masked.

Design: `Lines` is the path of most functions, and this class costs it nothing. The two methods that make lines are
therefore written again here, with the selection before them.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from logferry.records import attribution, bounded_json, decoder
from logferry.records.fast_path import TEXT, TIME
from logferry.records.fields import LEVEL_NAMES, as_members
from logferry.records.internal import DAMAGED, DROPPED, INVOCATION, PREFIX, SENT, UNPARSABLE
from logferry.records.lines import RECORD_END, Lines, quoted
from logferry.records.selection import LINES, Selection
from logferry.records.text_block import TextBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from logferry.records import fast_path
    from logferry.records.fields import Fields
    from logferry.records.lines import Request
    from logferry.records.masking import Masker
    from logferry.records.model import Header
    from logferry.records.segment_facts import SegmentFacts

FAILED = "[masked: a rule of LOGFERRY_MASK failed for this record]"
"""Text of a record that could not be masked."""
_REPORTS = frozenset({DROPPED, DAMAGED})
_OF_AN_INVOCATION = SENT | {INVOCATION}
"""Records of logferry that are dropped with their invocation."""
_NO_TIME = object()
"""Value that differs from the time of any record."""


class ProcessedLines(Lines):
    """Lines of a segment, with the numbers of filtered, masked and failed records."""

    def __init__(
        self,
        header: Header,
        types: frozenset[str],
        *,
        selection: Selection | None = None,
        masker: Masker | None = None,
        fields: Fields | None = None,
        facts: SegmentFacts | None = None,
    ) -> None:
        """`facts` are given if a sample keeps errors, or if a column needs them."""
        self._fields = fields
        self._facts = facts
        super().__init__(header, types)
        self._selection = selection or Selection()
        self._counts_filtered = selection is not None
        self._masker = masker
        self._succeeded: Container[str] = facts.succeeded if facts else ()
        self._has_level = fields is not None and fields.has_level
        if self._has_level:
            from logferry.records.levels import rank_of  # noqa: PLC0415 - compiles the patterns of all loggers

            self._rank_of = rank_of
        self._drops_runs = self._selection.drops_type(decoder.FUNCTION)
        self.filtered = self.masked = self.failed = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers for the closing record and the metadata, without those of features that are off."""
        return (
            ({"filtered": self.filtered} if self._counts_filtered else {})
            | ({"masked": self.masked} if self._masker else {})
            | ({"failed": self.failed} if self.failed else {})
        )

    def closing_members(self) -> dict[str, object]:
        """Return the counts, and the static fields."""
        static = dict(self._fields.static) if self._fields else {}
        return {**self.counts(), **({"fields": static} if static else {})}

    def closing(self, kind: str, record: str) -> str:
        """Return the last line, which has no further columns: the fields are in its record."""
        self._fields = None
        return super().closing(kind, record)

    def _of_event(self, event: decoder.Event, request: Request) -> str:
        """Return the line of an event, or nothing if it is not stored."""
        kind = event.type
        time = event.fields.get("time")
        if self._drops_event(event, request):
            self._note_filtered(kind, time, request)
            return ""
        self.records += 1
        if time != self._time:
            self._note_time(time)
        if request != self._request:
            self._note_request(request)
        if self._anchor.rank:
            self._note_anchor(kind)
        return self._line(event)

    def _drops_event(self, event: decoder.Event, request: Request) -> bool:
        selection = self._selection
        if selection.drops_type(event.type):
            return True
        is_sampled = not event.type.startswith(PREFIX) or event.type in _OF_AN_INVOCATION
        if request and is_sampled and selection.drops_request(request[0], self._succeeded):
            return True
        if event.type not in LINES or not selection.reads_lines:
            return False
        record = event.fields.get("record")
        return self._drops_line(record, record if isinstance(record, str) else event.value or event.text)

    def _drops_line(self, record: object, text: str) -> bool:
        try:
            return self._selection.drops_line(record, text)
        except Exception:  # noqa: BLE001 - any fault of a rule keeps the record
            self.failed += 1
            return False

    def _note_filtered(self, kind: str, time: object, request: Request) -> None:
        """Count a record that is not stored. It may still give the object its key, but not its time range."""
        self.filtered += 1
        if self._anchor.rank:
            kept = self.earliest, self.latest
            self._note_time(time)
            self._note_request(request)
            self._note_anchor(kind)
            self.earliest, self.latest = kept
            self._time = _NO_TIME  # the next record that is kept enters its time into the range

    def _of_run(self, run: fast_path.RecordRun) -> str:
        """Return the lines of plain records: the same as one by one, with one search over all of them."""
        selection, succeeded = self._selection, self._succeeded
        needs_text = self._masker or self._has_level or (selection.reads_lines and not self._drops_runs)
        block = TextBlock.of_run(run) if needs_text else None
        dropped = self._dropped_in(block, run) if not self._drops_runs else range(len(run))
        candidates = frozenset(self._masker.candidates(block)) if self._masker and block else ()
        inferred = attribution.inferred(
            decoder.FUNCTION, running=self._running, concurrent=self._header.origin.concurrent
        )
        request_in, lines, samples = self._request_ids.request_in, [], selection.sample is not None
        stated: str | None = ""  # differs from the ID of any record, so that the first is noted
        request: Request = None
        drops_request = False
        for index, record in enumerate(run):
            if (found := request_in(record)) is not stated:
                stated, request = found, (found, "record") if found else inferred
                drops_request = bool(samples and request and selection.drops_request(request[0], succeeded))
            if drops_request or index in dropped:
                self._note_filtered(decoder.FUNCTION, record[TIME], request)
                continue
            if request != self._request:
                self._note_request(request)
            if record[TIME] != self._time:
                self._note_time(record[TIME])
            if self._anchor.rank:
                self._note_anchor(decoder.FUNCTION)
            self.records += 1
            if not self._time_is_canonical:
                text = record + RECORD_END
                lines.append(self._line(decoder.Event(text, json.loads(text), text[TEXT.start - 1 : -1])))
                continue
            message = f'"{record[TEXT]}"'
            if block and index in candidates:
                text = self._guarded(self._mask_text, block.texts[index])
                message = message if text is block.texts[index] else json.dumps(text, ensure_ascii=False)
            head = f'{{"time":"{self._time}","type":"function","message":'
            level = self._level_column(block.texts[index]) if block and self._has_level else ""
            lines.append(f"{head}{message}{level}{self._ending}{self.records}}}\n")
        return "".join(lines)

    def _dropped_in(self, block: TextBlock | None, run: fast_path.RecordRun) -> Container[int]:
        if not block or not self._selection.reads_lines:
            return ()
        try:
            return self._selection.dropped_in(block)
        except Exception:  # noqa: BLE001 - the rule may fail for one record only
            texts = block.texts
            return {index for index in range(len(run)) if self._drops_line(texts[index], texts[index])}

    def _line(self, event: decoder.Event) -> str:
        """Return the line of an event, masked. The cases are those of `Lines`."""
        column, content = self._content(event)
        is_line = self._has_level and event.type in LINES
        level = self._level_column(event.fields.get("record")) if is_line else ""
        ending = f"{level}{self._ending}{self.records}}}\n"
        if column == "event":
            return self._event_head(event.type, content) + ending
        kind = self._columns.get(event.type) or self._make_column(event.type)
        value = content if column == "message" else quoted(content)
        return f'{{"time":"{self._time_or_latest}",{kind}"{column}":{value}{ending}'

    def _content(self, event: decoder.Event) -> tuple[str, str]:
        """Return the column of an event and its masked JSON text: `message`, `record` or `event`."""
        value, record = event.value, event.fields.get("record")
        has_column = bool(self._columns.get(event.type) or self._make_column(event.type))
        if value is not None and has_column and self._time_is_canonical:
            if not isinstance(record, str):
                return "record", self._masked_record(event.type, value, record)
            # Only a numeric escape can be a lone surrogate.
            if "\\u" not in value or bounded_json.is_text(record):
                text = self._masked_text(record)
                return "message", value if text is record else json.dumps(text, ensure_ascii=False)
        if value is not None and event.type.startswith(PREFIX):
            return "record", self._masked_record(event.type, value, record)
        return "event", self._masked_json(event.text, is_event=True)

    def _masked_text(self, text: str) -> str:
        return self._guarded(self._mask_text, text)

    def _mask_text(self, text: str) -> str:
        masker = self._masker
        return masker.text(text) if masker and masker.may_match(text) else text

    def _masked_json(self, text: str, *, is_event: bool = False, strings_only: bool = False) -> str:
        masker = self._masker

        def mask(text: str) -> str:
            if not masker or not masker.may_match(text):
                return text
            return masker.json(text, is_event=is_event, strings_only=strings_only)

        masked = self._guarded(mask, text)
        return json.dumps(FAILED) if masked is FAILED else masked

    def _masked_record(self, kind: str, value: str, record: Any) -> str:
        """Return the masked JSON text of a record that is not a text. Reports of losses are stored unchanged."""
        if not self._masker or kind in _REPORTS:
            return value
        raw = record.get("base64") if kind == UNPARSABLE and isinstance(record, dict) else None
        if raw:
            # Bytes that are not text are stored as base64, where no expression would find anything.
            text = base64.b64decode(raw).decode(errors="replace")
            masked = self._masked_text(text)
            return value if masked is text else json.dumps({"text": masked}, ensure_ascii=False)
        # The numbers of the platform and of logferry are measurements, which queries read as numbers.
        measured = kind.startswith((attribution.PLATFORM, PREFIX)) and kind not in SENT and kind != UNPARSABLE
        return self._masked_json(value, strings_only=measured)

    def _level_column(self, record: object) -> str:
        rank = self._rank_of(record)
        return "" if rank is None else f',"level":"{LEVEL_NAMES[rank]}"'

    def _make_ending(self, request: Request) -> str:
        """Return the end of a line, with the columns of its request before its place."""
        ending = super()._make_ending(request)
        if not self._fields:
            return ending
        stated, place, number = ending.partition(',"environment":')
        columns = self._fields.of_request(request[0] if request else None, self._facts, self._header.origin)
        return stated + as_members(columns) + place + number

    def _guarded(self, mask: Callable[[str], str], text: str) -> str:
        """Return a masked text, or a text that states the failure; the same object if nothing has changed."""
        try:
            masked: str = mask(text)
        except Exception:  # noqa: BLE001 - no fault of a rule may pass a record, or stop the upload
            self.failed += 1
            return FAILED
        self.masked += masked is not text
        return text if masked == text else masked

    def _make_column(self, kind: str) -> str:
        """Return the column `type`. A posted element can have any text as its type, so an unknown one is masked."""
        if self._masker and kind and not kind.startswith((attribution.PLATFORM, PREFIX)) and kind not in LINES:
            column = super()._make_column(self._masked_text(kind) if bounded_json.is_text(kind) else kind)
            self._columns[kind] = column
            return column
        return super()._make_column(kind)
