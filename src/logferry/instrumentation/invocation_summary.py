"""Summary of an invocation: its calls, events, losses and resource usage, in one `logferry.invocation` record. Pure.

Guarantees:
- An invocation has at most one summary. It has none if it would contain only what the platform's record contains.
- Every reported loss is in one summary: in that of its request, or else in the next one.
- Memory is bounded: by the number of invocations that run, and by the number of hosts of each.

Design: the summary is made when the platform has reported the end of the invocation. Events that arrive later, for
example from code that runs on after the response, are counted as `lateEvents` of the next summary. The JSON text of a
summary without calls and losses is written without `json`, as in `usage`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.records.internal import CALL

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS_SHOWN = 20
"""Number of hosts in a summary, those with the most calls."""
HOSTS_KEPT = 1000
"""Number of hosts of an invocation that are counted separately."""
INVOCATIONS_KEPT = 1024
"""Number of invocations that may run, and of those whose summary is made and still remembered."""
OTHER_HOSTS = "*"
"""Host in the entry that holds the sum of the hosts that are not shown."""
ERROR_STATUS = 400
"""Lowest HTTP status of a call that counts as an error, as in OpenTelemetry's conventions for clients."""
_DIGITS = 3
_INFINITE = float("inf")
_quoted = json.encoder.encode_basestring_ascii
_dumped = json.JSONEncoder(separators=(",", ":")).encode


class _Host:
    """Calls to one host."""

    __slots__ = ("count", "errors", "ms")

    def __init__(self) -> None:
        self.count = self.errors = 0
        self.ms = 0.0

    def add(self, ms: float, *, is_error: bool) -> None:
        """Count a call."""
        self.count += 1
        self.errors += is_error
        self.ms += ms

    def fields(self, host: str) -> dict[str, object]:
        """Return the entry of a summary."""
        return {"host": host, "count": self.count, "errors": self.errors, "ms": round(self.ms, _DIGITS)}


class _Invocation:
    """Counts of one invocation that runs."""

    __slots__ = ("events", "hosts", "is_partial", "lost", "other", "slowest")

    def __init__(self, *, is_partial: bool) -> None:
        self.is_partial = is_partial
        self.events = 0
        self.hosts: dict[str, _Host] = {}
        self.other: _Host | None = None
        """Hosts that are not counted separately."""
        self.slowest = 0.0
        self.lost: dict[str, int] = {}

    @property
    def has_content(self) -> bool:
        """Whether something was counted, or may have been counted by an earlier process."""
        return bool(self.events or self.hosts or self.lost or self.is_partial)


class InvocationSummaries:
    """Aggregation of the events of all invocations of one shipper process."""

    def __init__(self, *, calls: bool, events: bool, restarted: bool = False, always: bool = True) -> None:
        """Start without an invocation. `calls` and `events`: whether a summary has these fields.

        `restarted`: an earlier shipper process of the environment may have counted a part of an invocation. `always`:
        an invocation without events and losses has a summary too.
        """
        self._restarted = restarted
        self.always = always
        self._with_calls = calls
        self._with_events = events
        self._running: dict[str, _Invocation] = {}
        self._summarized: dict[str, None] = {}
        self.has_calls = False
        """Whether a call was counted so far."""
        self._late = 0
        self._lost: dict[str, int] = {}
        """Losses without a running invocation, for the next summary."""

    @property
    def running(self) -> tuple[str, ...]:
        """Invocations without a summary, oldest first."""
        return tuple(self._running)

    def is_running(self, request_id: str | None) -> bool:
        """Return whether an invocation has begun and has no summary."""
        return request_id in self._running

    def start(self, request_id: str, *, is_partial: bool | None = None) -> None:
        """Begin an invocation, unless it has begun.

        `is_partial`: an earlier shipper process may have counted a part of it. If it is None, it is unknown: any
        invocation may then be partial after a restart, until it is known.
        """
        invocation = self._running.get(request_id)
        # Three cases: 1. it has begun with an event of the function, 2. it begins, 3. it has a summary.
        if invocation:
            invocation.is_partial = invocation.is_partial if is_partial is None else is_partial
        elif request_id and request_id not in self._summarized:
            self._running[request_id] = _Invocation(is_partial=self._restarted if is_partial is None else is_partial)
            _trim(self._running)

    def on_event(self, kind: str, record: Mapping[str, Any], request_id: str | None) -> None:
        """Count an event, a metric or a call."""
        self.has_calls = self.has_calls or kind == CALL
        if request_id is None:
            return
        self.start(request_id)
        invocation = self._running.get(request_id)
        # Three cases: 1. the summary is made, 2. a call, 3. an event or a metric.
        if invocation is None:
            self._late += 1
        elif kind == CALL:
            _add_call(invocation, record)
        else:
            invocation.events += 1

    def on_lost(self, reason: str, count: int, request_id: str | None) -> None:
        """Count events that were not stored."""
        invocation = self._running.get(request_id or "")
        lost = invocation.lost if invocation else self._lost
        lost[reason] = lost.get(reason, 0) + count

    def end(self, request_id: str, *, status: object, duration_ms: object, usage: str = "") -> str:
        """Return the JSON text of the summary of an invocation that has ended.

        `usage` is the JSON text of its usage. The result is empty if the invocation has a summary, or needs none.
        """
        if not request_id or request_id in self._summarized or self.end_without_summary(request_id):
            return ""
        invocation = self._running.pop(request_id, None) or _Invocation(is_partial=True)
        self._note_summarized(request_id)
        members = [f'"requestId":{_quoted(request_id)}']
        if isinstance(status, str):
            members.append(f'"status":{_quoted(status)}')
        if isinstance(duration_ms, (int, float)) and not isinstance(duration_ms, bool) and abs(duration_ms) < _INFINITE:
            members.append(f'"durationMs":{duration_ms!r}')
        if self._with_calls:
            members.append(f'"calls":{_dumped(_calls(invocation))}')
        if self._with_events:
            members.append(f'"events":{invocation.events}')
        if lost := self._take_losses(invocation):
            members.append(f'"lost":{_dumped(lost)}')
        if self._late:
            members.append(f'"lateEvents":{self._late}')
            self._late = 0
        if usage:
            members.append(f'"usage":{usage}')
        if invocation.is_partial:
            members.append('"partial":true')
        return "{" + ",".join(members) + "}"

    def end_without_summary(self, request_id: str) -> bool:
        """End an invocation whose summary would be empty; return False if it needs a summary."""
        invocation = self._running.get(request_id)
        if self.always or self._lost or self._late or invocation is None or invocation.has_content:
            return False
        del self._running[request_id]
        self._note_summarized(request_id)
        return True

    def _note_summarized(self, request_id: str) -> None:
        self._summarized[request_id] = None
        _trim(self._summarized)

    def _take_losses(self, invocation: _Invocation) -> dict[str, int]:
        lost, self._lost = self._lost, {}
        for reason, count in invocation.lost.items():
            lost[reason] = lost.get(reason, 0) + count
        return lost


def _add_call(invocation: _Invocation, record: Mapping[str, Any]) -> None:
    host, ms, status = record.get("host"), record.get("durationMs"), record.get("status")
    milliseconds = float(ms) if isinstance(ms, (int, float)) and not isinstance(ms, bool) and ms > 0 else 0.0
    is_error = "error" in record or (isinstance(status, int) and status >= ERROR_STATUS)
    name = host if isinstance(host, str) else ""
    if name not in invocation.hosts and len(invocation.hosts) >= HOSTS_KEPT:
        invocation.other = invocation.other or _Host()
        invocation.other.add(milliseconds, is_error=is_error)
    else:
        invocation.hosts.setdefault(name, _Host()).add(milliseconds, is_error=is_error)
    invocation.slowest = max(invocation.slowest, milliseconds)


def _calls(invocation: _Invocation) -> dict[str, object]:
    """Return the field `calls`: the sums, and the hosts with the most calls."""
    ordered = sorted(invocation.hosts.items(), key=lambda item: (-item[1].count, -item[1].ms, item[0]))
    other = [invocation.other] if invocation.other else []
    every = [host for _, host in ordered] + other
    rest = _sum([host for _, host in ordered[HOSTS_SHOWN:]] + other)
    return {
        **{name: value for name, value in _sum(every).fields("").items() if name != "host"},
        "slowest": round(invocation.slowest, _DIGITS),
        "hosts": [
            *(host.fields(name) for name, host in ordered[:HOSTS_SHOWN]),
            *([rest.fields(OTHER_HOSTS)] if rest.count else []),
        ],
    }


def _sum(hosts: list[_Host]) -> _Host:
    total = _Host()
    for host in hosts:
        total.count += host.count
        total.errors += host.errors
        total.ms += host.ms
    return total


def _trim(requests: dict[str, Any]) -> None:
    if len(requests) > INVOCATIONS_KEPT:
        del requests[next(iter(requests))]
