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
from logferry.records.internal import DAMAGED, NOTES, PREFIX, InternalBatch, unparsable_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

START, RUNTIME_DONE, REPORT = "platform.start", "platform.runtimeDone", "platform.report"
FUNCTION = "function"

_RECORD = "record"
_RECORD_KEY = f'"{_RECORD}":'
_KEYS = frozenset({"time", "type", _RECORD})
_HEAD = re.compile(r'\{"time":"([^"\\\x00-\x1f]*)","type":"([^"\\\x00-\x1f]*)","record":')
"""Beginning of an event as the platform writes it."""
_FIRST_EVENT = b'[{"time":"'
_PLATFORM_TYPE = b',"type":"platform.'
_NEXT_RECORD = b',{"time":"'
_DAMAGED_TYPE, _TYPE_CHARACTERS = f'","type":"{DAMAGED}"', 64
"""Type of the only element of a batch that reports damage, and the size of the beginning that holds it."""
_FRAMING = "}]"
_DECODE_ERRORS = "surrogateescape"
_SEPARATORS = (",", "]")
_SPACES = (" ", "\t")
_SPACE = re.compile(r"[ \t\r\n]*")
_MAX_INT_CHARACTERS = 4299
"""Longest number that is read as an integer, in characters: `int()` refuses more than 4,300 digits."""
MAX_HEAD_CHARACTERS = 8 * 1024 * 1024
"""Largest beginning of a cut record that is kept, in characters."""
MAX_ODD = 100
"""Number of elements of one batch that are not events and are still read one by one. The platform sends none.

A body with millions of them would keep the listener from responding for seconds (tests/faults/test_local_posts.py), so
the rest is kept as text.
"""
MAX_DEPTH = 200
"""Deepest nesting that is parsed. A deeper element is kept as text.

The parser's own limit counts the frames of its callers, and the bytes of an object must not depend on them.
"""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


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


def refuse_constant(constant: str) -> None:
    """Raise ValueError for NaN and Infinity, which are not JSON (the argument `parse_constant` of `json`)."""
    raise ValueError(f"{constant} is not JSON")


def integer_parser(max_characters: int) -> Callable[[str], float]:
    """Return a function that gives an integer, or a float for a longer number (the argument `parse_int` of `json`)."""
    return lambda digits: int(digits) if len(digits) <= max_characters else float(digits)


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_int=integer_parser(_MAX_INT_CHARACTERS))
_SCAN = _DECODER.scan_once  # type: ignore[attr-defined]  # `raw_decode` without its wrapper


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
        start = _skip(text, 0)
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
                position = _skip(text, position)
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
                end = _skip(text, end)
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
        decoded = _decode(text, head.end(), element=position)
        if decoded and text[decoded[1] : decoded[1] + 1] == "}":
            record, end = decoded
            fields = {"time": head[1], "type": head[2], "record": record}
            return Event(text[position : end + 1], fields, text[head.end() : end]), end + 1
    decoded = _decode(text, position, element=position)
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
        key, position = _DECODER.raw_decode(element, _skip(element, position))
        start = _skip(element, _skip(element, position) + 1)
        _, end = _DECODER.raw_decode(element, start)
        keys.append(key)
        value = element[start:end] if key == _RECORD else value
        position = _skip(element, end)
        position += element[position] == ","
    return value if sorted(keys) == sorted(_KEYS) else None


def _decode(text: str, position: int, *, element: int) -> tuple[Any, int] | None:
    """Return the JSON value at `position` and its end; None without one, or if the element is nested too deep."""
    try:
        value, end = _SCAN(text, position)
    except (StopIteration, ValueError, RecursionError):
        return None
    if end - element > 2 * MAX_DEPTH and _is_too_deep(text, element, end):
        return None
    return value, end


def _is_too_deep(text: str, position: int, end: int) -> bool:
    """Return whether a JSON value is nested deeper than `MAX_DEPTH`, with an exact count only if it may be."""
    return _max_depth_bound(text, position, end) > MAX_DEPTH < nesting_depth(text[position:end])


def _max_depth_bound(text: str, position: int, end: int) -> int:
    """Return an upper bound of the nesting depth, at little cost."""
    return text.count("{", position, end) + text.count("[", position, end)


def nesting_depth(element: str) -> int:
    """Return the nesting depth of a JSON value."""
    deepest = depth = 0
    for token in _TOKEN.finditer(element):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _record_prefix(element: str) -> str:
    """Return the text of a cut element up to the value of `record`; empty if it has none."""
    before, key, _ = element.partition(_RECORD_KEY)
    return before + key if key and before.startswith("{") else ""


def _joined(head: str, text: str) -> str | None:
    """Return the batch that continues `head`, with the joined record first; None if it continues nothing."""
    start = _skip(text, 0) + 1
    prefix = _record_prefix(head)
    if not text.startswith(prefix, start) or _decode(text, start, element=start):
        return None
    return "[" + head.removesuffix(_FRAMING) + text[start + len(prefix) :]


def _skip(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches the empty string as well


def is_text(text: str) -> bool:
    """Return whether a text has no lone surrogate, which is also the form of a carried byte."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


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


def mentions_platform(body: bytes) -> bool:
    """Return False only for a batch without platform events and notes of INVOKE events, at little cost."""
    return b'"platform.' in body or isinstance(body, InternalBatch)


def is_only_platform(body: bytes) -> bool:
    """Return True only for a batch of platform events, at little cost; text after its end is not checked."""
    return body.startswith(_FIRST_EVENT) and body.count(_FIRST_EVENT[1:]) == body.count(_PLATFORM_TYPE)


def ends_complete(body: bytes) -> bool:
    """Return whether the last record of a batch is complete, judged by the end alone.

    The result is wrong only if a record was cut directly after a nested object that has the form of a record.
    """
    before = body.rfind(_NEXT_RECORD)
    text = body[before + 1 :].decode(errors=_DECODE_ERRORS) if before >= 0 else ""
    found = _decode(text, 0, element=0)
    return found is not None and text[found[1] :] == "]" and isinstance(found[0], dict) and "record" in found[0]
