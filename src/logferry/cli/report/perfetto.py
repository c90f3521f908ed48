"""The report as a trace for Perfetto or `chrome://tracing`, which zoom into it and search it.

Guarantees:
- All invocations and objects are written, whatever their number. The memory does not grow with it.
- Each begin (`b`) has an end (`e`) with the same process, category and ID, and not before it.

Design: an environment is a process of the trace. Asynchronous events are used, because invocations of Managed Instances
overlap, and the other kind of events must nest.

References: "Trace Event Format", sections "Async Events" and "Metadata Events".
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import duckdb

ROWS = 10_000
"""Rows that are in memory at a time."""

_INVOCATIONS = """
SELECT environment, request_id, start, coalesce(took, 0), status, error, responded, init, used_mb, memory_mb
FROM report_invocations ORDER BY start
"""
_OBJECTS = """
SELECT environment, segment, first, last, stored, records, size, key, final FROM report_objects ORDER BY first
"""
_PHASES = "SELECT environment, kind, start, took, status FROM report_phases ORDER BY start"
_ENVIRONMENTS = "SELECT environment, function FROM report_environments ORDER BY function, first"


def write_trace(connection: duckdb.DuckDBPyConnection, faults: Sequence[Mapping[str, Any]], file: IO[str]) -> int:
    """Write the trace of the collected tables, and return the number of its events. `faults` have places."""
    count = 0
    file.write('{"displayTimeUnit":"ms","traceEvents":[')
    for event in _events(connection, faults):
        file.write(",\n" if count else "\n")
        file.write(json.dumps(event, separators=(",", ":")))
        count += 1
    file.write("\n]}\n")
    return count


def _events(connection: duckdb.DuckDBPyConnection, faults: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    processes: dict[str, int] = {}
    for number, (environment, function) in enumerate(_rows(connection, _ENVIRONMENTS), 1):
        processes[environment] = number
        common = {"ph": "M", "pid": number, "tid": 0}
        yield common | {"name": "process_name", "args": {"name": f"{function} {environment}".strip()}}
        yield common | {"name": "process_sort_index", "args": {"sort_index": number}}
    for environment, kind, start, took, status in _rows(connection, _PHASES):
        span = _Span(processes[environment], "phase", f"{kind} phase", start, start + took)
        yield from span.events(f"{kind}-{start}", {"status": status})
    for environment, request_id, start, took, status, error, *more in _rows(connection, _INVOCATIONS):
        name = "invocation" if status in {"success", ""} else "failed invocation"
        details = dict(zip(("responseMs", "initMs", "usedMB", "memoryMB"), more, strict=True))
        span = _Span(processes[environment], "invocation", name, start, start + took)
        yield from span.events(request_id, {"requestId": request_id, "status": status, "error": error} | details)
    for environment, segment, first, last, stored, records, size, key, final in _rows(connection, _OBJECTS):
        details = {"segment": segment, "records": records, "size": size, "key": key, "final": final}
        yield from _Span(processes[environment], "object", "object", first, last).events(str(segment), details)
        if stored is not None:
            span = _Span(processes[environment], "wait", "not stored yet", last, max(stored, last))
            yield from span.events(str(segment), {"segment": segment})
    for number, fault in enumerate(faults):
        if fault["from"] is not None:
            span = _Span(processes[fault["environment"]], "fault", fault["kind"], fault["from"], fault["to"])
            details = {name: fault[name] for name in ("first_segment", "last_segment", "count")}
            yield from span.events(str(number), details)


class _Span:
    """A period of an environment, in epoch milliseconds."""

    def __init__(self, process: int, category: str, name: str, start: float, end: float) -> None:
        self._common = {"cat": category, "name": name, "pid": process, "tid": 0}
        self._start, self._end = start, max(start, end)

    def events(self, identity: str, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the begin and the end. The ID is unique in its category of the complete trace."""
        common = self._common | {"id": f"{self._common['pid']}-{identity}"}
        known = {name: value for name, value in arguments.items() if value not in {None, ""}}
        yield common | {"ph": "b", "ts": round(self._start * 1000), "args": known}
        yield common | {"ph": "e", "ts": round(self._end * 1000)}


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    # The tables are temporary, so a second cursor of the session would not find them.
    found = connection.execute(query)
    while rows := found.fetchmany(ROWS):
        yield from rows
