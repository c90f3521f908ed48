"""Settings of a Firehose destination: how lines become data records.

Design: several lines share a record by default, because Firehose bills each record in steps of 5 KB. Some destinations
of streams, such as OpenSearch, expect one line in each record.

References: Firehose Developer Guide, "Quota" and "Apply dynamic partitioning to aggregated data".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.setting import Setting, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LINES = 500
"""Maximum number of lines that Firehose takes out of a record, and the default."""

# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("FIREHOSE_LINES", str(MAX_LINES), "1 to 500", "maximum number of lines in a record of Firehose; `1` if the destination of the stream expects one line in each record, such as OpenSearch", whole(1, MAX_LINES)),
)  # fmt: skip


class FirehoseOptions(NamedTuple):
    """The valid settings of this table."""

    max_lines: int


def contradictions(_parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield nothing: each value can be combined with all others."""
    yield from ()


def read(parsed: Mapping[str, Any]) -> FirehoseOptions:
    """Return the options of the parsed values."""
    return FirehoseOptions(max_lines=parsed["FIREHOSE_LINES"])
