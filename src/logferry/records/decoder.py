"""Delivery bytes to events. Pure: no clock, no disk, no network.

Promises:
- nothing that was delivered disappears: an event comes out as the very text the platform sent (unknown types, keys and
  values included), and what is no event comes out as a `logferry.unparsable` record that holds it;
- an event of a type of our own (`logferry.…`) is believed in a delivery that is marked as ours (`Own`), and nowhere
  else: from anybody else it is text that was posted, and is kept as such.

Format: Telemetry API, "Telemetry API Event schema".
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from logferry.records import fast_path
from logferry.records.internal import InternalBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START, RUNTIME_DONE, REPORT = "platform.start", "platform.runtimeDone", "platform.report"
FUNCTION = "function"
OURS = "logferry."
UNPARSABLE = OURS + "unparsable"

_RECORD_KEY = '"record":'
_NEXT_RECORD = b',{"time":"'
_FRAMING = "}]"
_CARRY = "surrogateescape"
_SEPARATORS = (",", "]")
_SPACES = (" ", "\t")
_SPACE = re.compile(r"[ \t\r\n]*")


class Event:
    """One element of a delivery: its JSON text on one line, the same parsed, and its type (empty when it has none).

    A plain class with slots: one is made for each record, and a frozen dataclass takes three times as long.
    """

    __slots__ = ("fields", "text", "type")

    def __init__(self, text: str, fields: dict[str, Any]) -> None:
        self.text = text
        self.fields = fields
        kind = fields.get("type")
        self.type: str = kind if isinstance(kind, str) else ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> float:
    """An integer; as a float where int() would refuse it (Python's limit on digits). The text is kept as it is."""
    return int(digits) if len(digits) < _INT_DIGITS else float(digits)


_INT_DIGITS = 4300
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_number)
MAX_HEAD_CHARACTERS = 8 * 1024 * 1024
"""Of a record that is never whole; then it is given up."""
MAX_ODD = 100
"""Elements of one delivery that are no events; the platform sends none. Taken one by one, a body of millions of them
would keep the listener from answering for seconds (tests/faults/test_local_posts.py): the rest is taken as text."""
MAX_DEPTH = 200
"""Deeper is taken as text. The parser's own limit counts its callers' frames, and the bytes must not depend on them."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class Reader:
    """Reads deliveries one after another, and joins a record that was cut in two.

    A record larger than `maxBytes` is cut in the middle of its value: the delivery ends there with the framing `}]`,
    and the next one begins with the record's envelope again and goes on with the value. Neither is JSON by itself
    (observed on Lambda: DataDog/datadog-lambda-extension#1357). The two are recognised by the repeated envelope.
    """

    def __init__(self, *, plain_from: int = fast_path.WORTHWHILE_BYTES) -> None:
        """`plain_from` is only for testing: from which size of a delivery on its plain records are not parsed."""
        self._plain_from = plain_from
        self._head = ""

    @property
    def holds(self) -> bool:
        """Whether the beginning of a record waits for its continuation."""
        return bool(self._head)

    def read(self, body: bytes) -> Iterator[Event | fast_path.Run]:
        """The events of one delivery in their order; plain records come as runs, not parsed.

        What cannot be read comes as a `logferry.unparsable` event.
        """
        own = isinstance(body, InternalBatch)
        # A cut may fall inside a character: its bytes are carried as surrogates until the halves are joined.
        text = body.decode(errors=_CARRY)
        if self._head:
            joined = _joined(self._head, text)
            if joined is None:
                yield from self.rest()
            else:
                body = _as_bytes(joined)
                self._head, text = "", body.decode(errors=_CARRY)
        start = _skip(text, 0)
        if text[start : start + 1] != "[":
            yield _unparsable(text)
        elif _is_text(text):
            yield from self._elements(text, start + 1, body, own=own)
        else:
            found = list(self._elements(text, start + 1, body, own=own))
            if self._head and all(_is_text(each.text if isinstance(each, Event) else "".join(each)) for each in found):
                yield from found
            else:
                self._head = ""
                yield _unparsable(text)

    def rest(self) -> Iterator[Event]:
        """The beginning of a record that was never continued."""
        if self._head:
            yield _unparsable(self._head)
        self._head = ""

    def _elements(self, text: str, position: int, raw: bytes, *, own: bool) -> Iterator[Event | fast_path.Run]:
        """The elements of an array up to its end; from the first that is broken on, the rest as it stands."""
        # Outside strings a line break is mere space in JSON, and inside them it cannot stand.
        text = text.replace("\r", " ").replace("\n", " ") if "\n" in text or "\r" in text else text
        plain_records = fast_path.Plain(text, raw) if len(raw) >= self._plain_from else None
        separator, odd = "", 0
        while True:
            if text[position : position + 1] in _SPACES:
                position = _skip(text, position)
            if text[position : position + 1] == "]" and separator != ",":
                rest = text[position + 1 :]
                break
            if plain_records and (run := plain_records.run(position)):
                yield run
                end = position + fast_path.size(run)
            else:
                decoded = _decode(text, position)
                if decoded is None:
                    rest = self._unless_cut(text[position:])
                    break
                value, end = decoded
                element = text[position:end]
                if (not isinstance(value, dict) or "type" not in value) and (odd := odd + 1) > MAX_ODD:
                    rest = text[position:]
                    break
                event = Event(element, value) if isinstance(value, dict) else None
                yield event if event and (own or not event.type.startswith(OURS)) else _unparsable(element)
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

    def _unless_cut(self, rest: str) -> str:
        """Keep the beginning of a record that was cut, to be joined with the next delivery; else what it was given."""
        if _envelope(rest) and rest.endswith(_FRAMING) and len(rest) <= MAX_HEAD_CHARACTERS:
            self._head, rest = rest, ""
        return rest


def _decode(text: str, position: int) -> tuple[Any, int] | None:
    """The JSON value at `position` and where it ends; None where there is none, or one that is nested too deep."""
    try:
        value, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    if end - position > 2 * MAX_DEPTH and _opened(text, position, end) > MAX_DEPTH < _depth(text[position:end]):
        return None
    return value, end


def _opened(text: str, position: int, end: int) -> int:
    """At least as much as the depth."""
    return text.count("{", position, end) + text.count("[", position, end)


def _depth(element: str) -> int:
    """How deep a JSON value is nested."""
    deepest = depth = 0
    for token in _TOKEN.finditer(element):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _envelope(element: str) -> str:
    """A cut element's beginning up to its value; empty when it has none."""
    before, key, _ = element.partition(_RECORD_KEY)
    return before + key if key and before.startswith("{") else ""


def _joined(head: str, text: str) -> str | None:
    """The delivery that continues `head`, with the whole record first; None when it continues something else."""
    start = _skip(text, 0) + 1
    envelope = _envelope(head)
    if not text.startswith(envelope, start) or _decode(text, start):
        return None
    return "[" + head.removesuffix(_FRAMING) + text[start + len(envelope) :]


def _skip(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches the empty string too


def _is_text(text: str) -> bool:
    """Whether it holds no carried bytes."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def _as_bytes(text: str) -> bytes:
    """The bytes that were delivered."""
    return text.encode(errors=_CARRY)


def _unparsable(text: str) -> Event:
    """What is no event, as text where it is text."""
    record = {"text": text} if _is_text(text) else {"base64": base64.b64encode(_as_bytes(text)).decode()}
    fields = {"type": UNPARSABLE, "record": record}
    return Event(json.dumps(fields), fields)


def all_of(bodies: Iterable[bytes], *, plain_from: int = fast_path.WORTHWHILE_BYTES) -> Iterator[Event | fast_path.Run]:
    """The events of deliveries that came one after another, plain records as runs; `plain_from` as in `Reader`."""
    reader = Reader(plain_from=plain_from)
    for body in bodies:
        yield from reader.read(body)
    yield from reader.rest()


def count_records(bodies: Iterable[bytes]) -> int:
    """How many records these deliveries hold."""
    return sum(1 if isinstance(found, Event) else len(found) for found in all_of(bodies))


def mentions_platform(body: bytes) -> bool:
    """Whether a delivery may hold platform events: cheap, and never wrong in saying no."""
    return b'"platform.' in body


def ends_whole(body: bytes) -> bool:
    """Whether the last record of a delivery is whole, by a look at the end alone.

    Wrong in saying yes only where a record was cut exactly behind an object in it that looks like a record itself.
    """
    before = body.rfind(_NEXT_RECORD)
    text = body[before + 1 :].decode(errors=_CARRY) if before >= 0 else ""
    found = _decode(text, 0)
    return found is not None and text[found[1] :] == "]" and isinstance(found[0], dict) and "record" in found[0]
