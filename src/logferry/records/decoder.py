"""Bytes of a batch to events. Pure: no clock, no disk, no network.

Guarantees:
- Nothing that was delivered disappears. An event keeps the exact text that the platform sent, with unknown types, keys
  and values; anything else becomes a `logferry.unparsable` record that holds it.
- Records of type `logferry.*` are accepted only in internal batches; in any other batch they are stored as
  `logferry.unparsable`.

References: Telemetry API, "Telemetry API Event schema".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from logferry.records import fast_path
from logferry.records.bounded_json import DECODER, decode_value, is_text, skip_space
from logferry.records.internal import DAMAGED, NOTES, PREFIX, InternalBatch, unparsable_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START, RUNTIME_DONE, REPORT = "platform.start", "platform.runtimeDone", "platform.report"
FUNCTION = "function"

_RECORD = "record"
_RECORD_KEY = f'"{_RECORD}":'
_KEYS = frozenset({"time", "type", _RECORD})
_HEAD = re.compile(r'\{"time":"([^"\\\x00-\x1f]*)","type":"([^"\\\x00-\x1f]*)","record":')
"""Beginning of an event as the platform writes it."""
_DAMAGED_TYPE, _TYPE_CHARACTERS = f'","type":"{DAMAGED}"', 64
"""Type of the only element of a batch that reports damage, and the size of the beginning that holds it."""
_FRAMING = "}]"
_DECODE_ERRORS = "surrogateescape"
_SEPARATORS = (",", "]")
_SPACES = (" ", "\t")
MAX_HEAD_CHARACTERS = 8 * 1024 * 1024
"""Largest beginning of a cut record that is kept, in characters."""
MAX_ODD = 100
"""Number of elements of one batch that are not events and are still read one by one. The platform sends none.

A body with millions of them would keep the listener from responding for seconds (tests/faults/test_local_posts.py), so
the rest is kept as text.
"""


class Event:
    """One element of a batch: its JSON text on one line, the parsed fields, and its type (empty if it has none).

    A plain class with slots: one is made for each record, and a frozen dataclass takes three times as long.
    """

    __slots__ = ("fields", "text", "type", "value")

    def __init__(self, text: str, fields: dict[str, Any], value: str | None = None) -> None:
        """Set the JSON text of `record` as `value` if the event has exactly `time`, `type` (a text) and `record`."""
        self.text = text
        self.fields = fields
        self.value = value
        kind = fields.get("type")
        self.type: str = kind if isinstance(kind, str) else ""


class Reader:
    """Reader of consecutive batches that joins a record which was cut in two.

    A record larger than `maxBytes` is cut in the middle of its value: the batch ends there with the framing `}]`, and
    the next one begins with the record's prefix again and continues the value. Neither is JSON by itself (observed on
    Lambda: DataDog/datadog-lambda-extension#1357). The repeated prefix identifies the two parts. Batches that logferry
    made are complete, and may lie between them.
    """

    def __init__(self, *, min_batch_bytes: int = fast_path.MIN_BATCH_BYTES) -> None:
        """`min_batch_bytes` is set only in tests: the smallest batch that the fast path reads."""
        self._min_batch_bytes = min_batch_bytes
        self._head = ""

    @property
    def has_partial_record(self) -> bool:
        """Whether the beginning of a record waits for its continuation."""
        return bool(self._head)

    def read(self, body: bytes) -> Iterator[Event | fast_path.RecordRun]:
        """Yield the events of one batch in order; plain records are yielded as runs, not parsed.

        Text that cannot be read is yielded as a `logferry.unparsable` event.
        """
        internal = isinstance(body, InternalBatch)
        # A cut may fall inside a character: its bytes are carried as surrogates until the halves are joined.
        text = body.decode(errors=_DECODE_ERRORS)
        # A batch of logferry may lie between the two halves of a cut record. If it reports damage, a half is missing.
        if self._head and (not internal or _DAMAGED_TYPE in text[:_TYPE_CHARACTERS]):
            joined = _joined(self._head, text)
            if joined is None:
                yield from self.flush_partial()
            else:
                body = _as_bytes(joined)
                self._head, text = "", body.decode(errors=_DECODE_ERRORS)
        start = skip_space(text, 0)
        # Three cases: 1. no array, 2. an array of valid text, 3. an array with bytes that are not UTF-8.
        if text[start : start + 1] != "[":
            yield _unparsable(text)
        elif is_text(text):
            yield from self._elements(text, start + 1, body, internal=internal)
        else:
            found = list(self._elements(text, start + 1, body, internal=internal))
            # The bytes may belong to the cut record alone; then the events before it are valid.
            if self._head and all(is_text(each.text if isinstance(each, Event) else "".join(each)) for each in found):
                yield from found
            else:
                self._head = ""
                yield _unparsable(text)

    def flush_partial(self) -> Iterator[Event]:
        """Yield the beginning of a record that was never continued."""
        if self._head:
            yield _unparsable(self._head)
        self._head = ""

    def _elements(
        self, text: str, position: int, raw: bytes, *, internal: bool
    ) -> Iterator[Event | fast_path.RecordRun]:
        """Yield the elements of an array up to its end; from the first broken one, yield the rest as text."""
        # Outside strings a line break is only space in JSON, and inside them it is not allowed.
        text = text.replace("\r", " ").replace("\n", " ") if "\n" in text or "\r" in text else text
        scanner = fast_path.PlainRecordScanner(text, raw) if len(raw) >= self._min_batch_bytes else None
        separator, odd = "", 0
        while True:
            if text[position : position + 1] in _SPACES:
                position = skip_space(text, position)
            if text[position : position + 1] == "]" and separator != ",":
                rest = text[position + 1 :]
                break
            if scanner and (run := scanner.run(position)):
                yield run
                end = position + fast_path.size(run)
            else:
                decoded = _decode_element(text, position)
                if decoded is None:
                    rest = self._keep_if_truncated(text[position:])
                    break
                event, end = decoded
                if (not event or "type" not in event.fields) and (odd := odd + 1) > MAX_ODD:
                    rest = text[position:]
                    break
                is_accepted = event and (internal or not event.type.startswith(PREFIX))
                yield event if event and is_accepted else _unparsable(text[position:end])
            separator = text[end : end + 1]
            if separator in _SPACES:
                end = skip_space(text, end)
                separator = text[end : end + 1]
            position = end + 1 if separator == "," else end
            if separator not in _SEPARATORS:
                rest = text[position:]
                break
        if rest.strip():
            yield _unparsable(rest)

    def _keep_if_truncated(self, rest: str) -> str:
        """Keep the beginning of a cut record for the next batch and return nothing; otherwise return `rest`."""
        if _record_prefix(rest) and rest.endswith(_FRAMING) and len(rest) <= MAX_HEAD_CHARACTERS:
            self._head, rest = rest, ""
        return rest


def _decode_element(text: str, position: int) -> tuple[Event | None, int] | None:
    """Return the event at `position` and its end; no event for another value, None without a value."""
    # The platform writes time, type and record in this order and without spaces: then only the record is parsed.
    if head := _HEAD.match(text, position):
        decoded = decode_value(text, head.end(), element=position)
        if decoded and text[decoded[1] : decoded[1] + 1] == "}":
            record, end = decoded
            fields = {"time": head[1], "type": head[2], "record": record}
            return Event(text[position : end + 1], fields, text[head.end() : end]), end + 1
    decoded = decode_value(text, position, element=position)
    if decoded is None:
        return None
    fields, end = decoded
    if not isinstance(fields, dict):
        return None, end
    element = text[position:end]
    return Event(element, fields, _record_text(element) if _is_exact(fields) else None), end


def _is_exact(fields: dict[str, Any]) -> bool:
    return fields.keys() == _KEYS and isinstance(fields["type"], str)


def _record_text(element: str) -> str | None:
    """Return the JSON text of `record` in an event with exactly three members, in any order and with any spaces."""
    keys, value, position = [], "", 1
    while element[position : position + 1] != "}":
        key, position = DECODER.raw_decode(element, skip_space(element, position))
        start = skip_space(element, skip_space(element, position) + 1)
        _, end = DECODER.raw_decode(element, start)
        keys.append(key)
        value = element[start:end] if key == _RECORD else value
        position = skip_space(element, end)
        position += element[position] == ","
    return value if sorted(keys) == sorted(_KEYS) else None


def _record_prefix(element: str) -> str:
    """Return the text of a cut element up to the value of `record`; empty if it has none."""
    before, key, _ = element.partition(_RECORD_KEY)
    return before + key if key and before.startswith("{") else ""


def _joined(head: str, text: str) -> str | None:
    """Return the batch that continues `head`, with the joined record first; None if it continues nothing."""
    start = skip_space(text, 0) + 1
    prefix = _record_prefix(head)
    if not text.startswith(prefix, start) or decode_value(text, start, element=start):
        return None
    return "[" + head.removesuffix(_FRAMING) + text[start + len(prefix) :]


def _as_bytes(text: str) -> bytes:
    """Return the bytes that were delivered."""
    return text.encode(errors=_DECODE_ERRORS)


def _unparsable(text: str) -> Event:
    fields = unparsable_fields(_as_bytes(text))
    return Event(json.dumps(fields), fields, json.dumps(fields[_RECORD]))


def read_all(
    bodies: Iterable[bytes], *, min_batch_bytes: int = fast_path.MIN_BATCH_BYTES
) -> Iterator[Event | fast_path.RecordRun]:
    """Yield the events of consecutive batches, plain records as runs; `min_batch_bytes` as in `Reader`."""
    reader = Reader(min_batch_bytes=min_batch_bytes)
    for body in bodies:
        yield from reader.read(body)
    yield from reader.flush_partial()


def count_records(bodies: Iterable[bytes]) -> int:
    """Return the number of records in these batches. A note is not a record."""
    return sum(found.type not in NOTES if isinstance(found, Event) else len(found) for found in read_all(bodies))
