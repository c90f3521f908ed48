"""Common part of the formats other than NDJSON: records one by one, selected and masked as in format 1. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from logferry.records import attribution
from logferry.records.decoder import Event
from logferry.records.fast_path import TEXT
from logferry.records.lines import RECORD_END
from logferry.records.processed_lines import ProcessedLines

if TYPE_CHECKING:
    from logferry.records.fast_path import RecordRun
    from logferry.records.lines import Request


class FormattedLines(ProcessedLines):
    """Records of a segment in another format. A subclass overrides `_line` and `closing`."""

    def _of_run(self, run: RecordRun) -> str:
        """Return the records of a run, read one by one."""
        events = [
            Event(text, json.loads(text), text[TEXT.start - 1 : -1]) for text in (record + RECORD_END for record in run)
        ]
        return "".join(self._of_event(event, self._request_of(event)) for event in events)

    def _request_of(self, event: Event) -> Request:
        return attribution.attribute(
            event, running=self._running, request_in=self._request_in, concurrent=self._header.origin.concurrent
        )

    def _masked_content(self, event: Event) -> str:
        """Return the masked text of a record: the text itself, or the JSON text of any other record."""
        column, content = self._content(event)
        text: str = json.loads(content) if column == "message" else content
        return text
