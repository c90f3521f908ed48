r"""Records as text, as an export of CloudWatch Logs shows them. Pure.

    2026-11-21T02:26:24.357Z START RequestId: 9a12… Version: $LATEST

Guarantees:
- Each record begins with its time and a space, and ends with a line break. A text may have several lines.
- Records of the platform have the lines that Lambda writes to CloudWatch. A record without such a line is its type and
  its JSON text.
- The last line is the closing line with its JSON text, so that a cut object is recognised.

References: CloudWatch Logs User Guide, "Exporting log data to Amazon S3"; Lambda Developer Guide, "Log formats".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.records import bounded_json, decoder
from logferry.records.formatted_lines import FormattedLines
from logferry.records.model import iso
from logferry.records.selection import LINES

if TYPE_CHECKING:
    from logferry.records.decoder import Event

_METRICS = (
    ("durationMs", "Duration", "ms", "{:.2f}"),
    ("billedDurationMs", "Billed Duration", "ms", "{:.0f}"),
    ("memorySizeMB", "Memory Size", "MB", "{:.0f}"),
    ("maxMemoryUsedMB", "Max Memory Used", "MB", "{:.0f}"),
    ("initDurationMs", "Init Duration", "ms", "{:.2f}"),
    ("restoreDurationMs", "Restore Duration", "ms", "{:.2f}"),
    ("billedRestoreDurationMs", "Billed Restore Duration", "ms", "{:.0f}"),
)
"""Metrics of a report in the order of its line."""


class TextLines(FormattedLines):
    """Lines of a segment as text."""

    FORMAT = "text"
    CONTENT_TYPE = "text/plain; charset=utf-8"

    def closing_members(self) -> dict[str, object]:
        """Return the members of the closing record, with the place of the object."""
        header = self._header
        return {"environment": header.origin.environment, "segment": header.number, **super().closing_members()}

    def closing(self, kind: str, record: str) -> str:
        """Return the closing line."""
        return f"{self.latest or iso(self._header.opened_ms)} {kind} {record}\n"

    def _line(self, event: Event) -> str:
        text = self._masked_content(event).removesuffix("\n")
        if event.type not in LINES:
            text = _platform_text(event.type, text)
        if not bounded_json.is_text(text):
            text = text.encode(errors="backslashreplace").decode()
        return f"{self._time_or_latest} {text}\n"


def _platform_text(kind: str, text: str) -> str:
    """Return the line that Lambda writes for a record of the platform, from its masked JSON text."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and isinstance(record.get("requestId"), str):
        request = record["requestId"]
        # Three cases: 1. the start, 2. the end, 3. the report of an invocation.
        if kind == decoder.START:
            return f"START RequestId: {request} Version: {record.get('version', '$LATEST')}"
        if kind in (decoder.RUNTIME_DONE, "platform.end"):
            return f"END RequestId: {request}"
        if kind == decoder.REPORT:
            return _report(request, record)
    if kind == "platform.initStart" and isinstance(record, dict):
        version, arn = record.get("runtimeVersion"), record.get("runtimeVersionArn")
        parts = [f"Runtime Version: {version}"] if version else []
        return "INIT_START " + "\t".join([*parts, *([f"Runtime Version ARN: {arn}"] if arn else [])])
    return f"{kind} {text}".lstrip()


def _report(request: str, record: dict[str, Any]) -> str:
    parts = [f"REPORT RequestId: {request}"]
    metrics = record.get("metrics")
    for name, label, unit, form in _METRICS:
        value = metrics.get(name) if isinstance(metrics, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            parts.append(f"{label}: {form.format(value)} {unit}")
    # CloudWatch shows a status only if the invocation did not succeed.
    status, error = record.get("status"), record.get("errorType")
    parts += [f"Status: {status}"] if isinstance(status, str) and status != "success" else []
    parts += [f"Error Type: {error}"] if isinstance(error, str) else []
    return "\t".join(parts) + "\t"
