"""Settings of the function's own events, its HTTP calls and its resource usage.

Design: the exec wrapper and the hooks inside the function's process read CALLS, the variables with its prefix, and
NEXT_WRAPPER. They are in this table so that the shipper knows the names and reports a misspelt one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry import values
from logferry.setting import Setting, choice, seconds, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_EVENTS_LIMIT = 1000


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _samples(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != 0 and not 0.1 <= value <= 60:  # noqa: PLR2004 - the range in the table
        raise ValueError("use 0, or seconds from 0.1 to 60")
    return value


def _path(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("use an absolute path, such as /opt/other-wrapper")
    return text


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("EVENTS", "false", "`true`, `false`", "accept events and metrics of the function; `LOGFERRY_CALLS` implies it", values.parse_truth),
    Setting("EVENTS_LIMIT", str(DEFAULT_EVENTS_LIMIT), "0 to 100000", "events of one invocation (Managed Instances: of one second) that are stored; further ones are counted", whole(0, 100_000)),
    Setting("CALLS", "off", "`off`, `summary`, `each`", "HTTP calls of the function: a summary of each invocation, or also one record for each call", choice("off", "summary", "each")),
    Setting("CALLS_URL", "path", "`host`, `path`, `query`", "recorded part of a URL; values in a query are masked", choice("host", "path", "query")),
    Setting("CALLS_HEADERS", "", "names, separated by commas", "response headers that are recorded, 200 bytes each", _names),
    Setting("CALLS_IGNORE", "", "host patterns, separated by commas", "hosts whose calls are not recorded", _names),
    Setting("USAGE", "false", "`true`, `false`", "CPU, memory, network, `/tmp`, descriptors and threads of each invocation in its summary", values.parse_truth),
    Setting("USAGE_SECONDS", "0", "0, or 0.1 to 60", "interval of further samples inside an invocation, for maxima; 0: none", _samples),
    Setting("USAGE_COMPLETE_SECONDS", "1", "0 to 3600", "shortest time between two invocations whose usage has all fields; the others have only CPU time; 0: each invocation has all fields", seconds(0, 3600)),
    Setting("NEXT_WRAPPER", "", "an absolute path", "wrapper that `logferry-wrap` executes next", _path),
)  # fmt: skip


class InstrumentationOptions(NamedTuple):
    """The valid settings of this table."""

    events: bool
    """Whether the intake of events is open."""
    events_limit: int
    calls: str
    """`off`, `summary` or `each`."""
    usage: bool
    usage_seconds: float
    usage_complete_seconds: float


def contradictions(parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    for name, is_changed in (
        ("USAGE_SECONDS", parsed.get("USAGE_SECONDS")),
        ("USAGE_COMPLETE_SECONDS", parsed.get("USAGE_COMPLETE_SECONDS", 1.0) != 1.0),
    ):
        if is_changed and parsed.get("USAGE") is False:
            yield f"LOGFERRY_{name} has no effect without usage: set LOGFERRY_USAGE=true, or remove it"


def read(parsed: Mapping[str, Any]) -> InstrumentationOptions:
    """Return the options of the parsed values."""
    return InstrumentationOptions(
        events=parsed["EVENTS"] or parsed["CALLS"] != "off",
        events_limit=parsed["EVENTS_LIMIT"],
        calls=parsed["CALLS"],
        usage=parsed["USAGE"],
        usage_seconds=parsed["USAGE_SECONDS"],
        usage_complete_seconds=parsed["USAGE_COMPLETE_SECONDS"],
    )
