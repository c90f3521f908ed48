"""Further columns of a line: static fields, account, level, and properties of the invocation. Pure.

Guarantees:
- Every value is a string, and a column without a value is absent.
- The columns precede the place of a line, so that its end stays the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logferry.records.model import Origin
    from logferry.records.segment_facts import SegmentFacts

LEVEL_NAMES = ("trace", "debug", "info", "warn", "error", "fatal")
"""Levels from the least severe. The index is the rank."""
STATIC, ACCOUNT, LEVEL = "fields", "account", "level"
COLD_START, TENANT_ID, TRACE_ID = "coldStart", "tenantId", "traceId"
OF_INVOCATIONS = frozenset({COLD_START, TENANT_ID, TRACE_ID})
"""Columns that need the platform's records of the segment."""
COLUMNS = (STATIC, ACCOUNT, LEVEL, COLD_START, TENANT_ID, TRACE_ID)
"""Values of LOGFERRY_LINE_FIELDS."""


class Fields(NamedTuple):
    """The static fields of an environment, and the columns of each line."""

    static: tuple[tuple[str, str], ...] = ()
    columns: frozenset[str] = frozenset()

    @property
    def has_level(self) -> bool:
        """Whether lines have a level."""
        return LEVEL in self.columns

    @property
    def needs_facts(self) -> bool:
        """Whether a column needs the platform's records of the segment."""
        return bool(self.columns & OF_INVOCATIONS)

    def of_request(self, request_id: str | None, facts: SegmentFacts | None, origin: Origin) -> dict[str, str]:
        """Return the columns of a line by its request, without the level."""
        found: dict[str, str] = {}
        if request_id and facts:
            if TRACE_ID in self.columns and request_id in facts.traces:
                found[TRACE_ID] = facts.traces[request_id]
            if TENANT_ID in self.columns and request_id in facts.tenants:
                found[TENANT_ID] = facts.tenants[request_id]
            if COLD_START in self.columns and request_id == facts.first_request:
                found[COLD_START] = "true"
        if STATIC in self.columns:
            found |= dict(self.static)
        if ACCOUNT in self.columns and origin.account:
            found[ACCOUNT] = origin.account
        return found


def as_members(columns: dict[str, str]) -> str:
    """Return columns as the middle part of a JSON object, with a comma in front of each."""
    return "".join(f",{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in columns.items())
