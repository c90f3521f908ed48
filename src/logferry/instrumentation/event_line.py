"""Grammar of one line of the function's own events. Pure.

    {"event":"order placed","level":"info","total":12}
    {"metric":"orders","value":3,"unit":"Count"}
    {"call":"GET","host":"api.example.com","status":200,"durationMs":12.3,"by":"node"}

Guarantees:
- The first of the keys `event`, `metric` and `call` decides the type of the record. A `type` in the line is content.
- Everything that the sender wrote is in the record. A line without `time` is kept byte for byte.
- The sender's time becomes the time of the record only if it lies between the start of the execution environment and
  now. Any other value is kept as `senderTime`.
- A line that is not one of these objects raises MalformedLine with the reason. No other exception is raised.

Design: the record is the sender's object and never its envelope, so no line can imitate a record of the platform or of
logferry. Numbers are read only to check them. Except in a line with `time` or `call`, they are never written again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from logferry.records.bounded_json import MAX_DEPTH, nesting_depth, refuse_constant
from logferry.records.internal import CALL, EVENT, METRIC
from logferry.records.model import iso
from logferry.records.timestamps import is_canonical

KINDS = {"event": EVENT, "metric": METRIC, "call": CALL}
"""Type of the record for each key that decides it."""
SENDER_TIME = "senderTime"
"""Key of a sender's time that is not the time of the record."""
RECORD_DEPTH = MAX_DEPTH - 1
"""Deepest nesting of a line. The element of a batch that holds it adds one level."""
_DECODER = json.JSONDecoder(parse_constant=refuse_constant)


class MalformedLine(ValueError):
    """A line is not an event, a metric or a call. The message is the reason."""


class EventLine:
    """One valid line. A plain class with slots, because one is made for each event."""

    __slots__ = ("_changed", "_text", "kind", "record", "time", "time_ms")

    def __init__(self, kind: str, text: str, record: dict[str, Any]) -> None:
        self.kind = kind
        """Type of the record."""
        self.record = record
        """The stored object."""
        self.time: str | None = None
        """The sender's time in the platform's form, or None if it is not the time of the record."""
        self.time_ms: float | None = None
        """The same time in epoch milliseconds."""
        self._text = text
        self._changed = False

    @property
    def request_id(self) -> object:
        """The request that the sender states; any JSON value."""
        return self.record.get("requestId")

    @property
    def trace_root(self) -> str | None:
        """Root of the X-Ray trace that the sender states, such as `1-5759e988-bd862e3fe1be46a994272793`."""
        trace = self.record.get("trace")
        return root_of(trace) if isinstance(trace, str) else None

    @property
    def lost_before(self) -> int:
        """Number of events that a hook could not write since its last line, because the pipe was full.

        Only a line with process ID and running number is a hook's. In any other line, `lost` is the sender's own key.
        """
        lost = self.record.get("lost")
        if not isinstance(lost, int) or isinstance(lost, bool) or "pid" not in self.record or "n" not in self.record:
            return 0
        return max(0, lost)

    def record_text(self) -> str:
        """Return the JSON text of the record."""
        return _dumped(self.record) if self._changed else self._text

    def _name_method(self) -> None:
        """Store the key `call` as `method`, which is its name in the record."""
        self.record = {"method": self.record.pop("call")} | self.record
        self._changed = True

    def _take_time(self, *, since_ms: int, now_ms: int) -> None:
        sent = self.record["time"]
        self.time, self.time_ms = trusted_time(sent, since_ms=since_ms, now_ms=now_ms)
        # Three cases: 1. the time of the record, 2. kept under another key, 3. the sender uses that key as well.
        if self.time:
            del self.record["time"]
        elif SENDER_TIME not in self.record:
            self.record[SENDER_TIME] = self.record.pop("time")
        self._changed = True


def parse(line: bytes, *, since_ms: int, now_ms: int) -> EventLine:
    """Return the event in a line. Raise MalformedLine.

    `since_ms` is the start of the execution environment, `now_ms` the time of the read (both epoch ms).
    """
    text, record = _decoded(line)
    key = next((key for key in record if key in KINDS), None)
    # Four cases: 1. no key decides the type, 2. its value is no name, 3. a metric without a number, 4. a valid line.
    if key is None:
        raise MalformedLine("it has none of the keys event, metric, call")
    if not isinstance(record[key], str) or not record[key]:
        raise MalformedLine(f"{key} is not a text")
    if key == "metric" and not _is_number(record.get("value")):
        raise MalformedLine("a metric has no number under value")
    found = EventLine(KINDS[key], text, record)
    if key == "call":
        found._name_method()  # noqa: SLF001 - a part of the construction
    if "time" in record:
        found._take_time(since_ms=since_ms, now_ms=now_ms)  # noqa: SLF001 - a part of the construction
    if found._changed:  # noqa: SLF001 - a part of the construction
        _dumped(found.record)  # a number that JSON cannot represent is found here, not when the record is stored
    return found


def trusted_time(sent: object, *, since_ms: int, now_ms: int) -> tuple[str, float] | tuple[None, None]:
    """Return a sender's time (ISO 8601 or epoch ms) in the platform's form and in epoch ms; None outside the limits."""
    try:
        ms = epoch_ms(sent)
    except (ValueError, OverflowError):
        return None, None
    if ms is None or not since_ms <= ms <= now_ms:
        return None, None
    return (sent if isinstance(sent, str) and is_canonical(sent) else iso(int(ms))), ms


def epoch_ms(sent: object) -> float | None:
    """Return a time (ISO 8601 or epoch ms) in epoch ms, None for another value. Raise ValueError or OverflowError."""
    if isinstance(sent, str):
        parsed = datetime.fromisoformat(sent)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000
    return float(sent) if _is_number(sent) else None  # type: ignore[arg-type]  # `_is_number` has checked it


def root_of(trace: str) -> str:
    """Return the root of a trace header (`Root=1-…;Parent=…;Sampled=1`), or the text itself if it has no fields."""
    fields = dict(part.strip().partition("=")[::2] for part in trace.split(";"))
    return fields.get("Root", trace)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) != float("inf")


def _decoded(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = line.decode().strip()
        record = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise MalformedLine("it is not UTF-8") from None
    except ValueError:
        raise MalformedLine("it is not JSON") from None
    except RecursionError:
        raise MalformedLine("it is nested too deep") from None
    if not isinstance(record, dict):
        raise MalformedLine("it is not a JSON object")
    if text.count("{") + text.count("[") > RECORD_DEPTH < nesting_depth(text):
        raise MalformedLine("it is nested too deep")
    return text, record


def _dumped(record: dict[str, Any]) -> str:
    try:
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":"))
    except ValueError:
        raise MalformedLine("it has a number that is too large") from None
    return text
