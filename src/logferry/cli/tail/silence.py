"""Why no records come: one sentence from what the lists have shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

FIRST_SECONDS = 10.0
NEXT_SECONDS = 60.0
"""Silence before the first explanation and before each further one, in seconds."""
_SHOWN = 5
_POLICIES = (
    "LOGFERRY_FLUSH=adaptive and =time keep records up to LOGFERRY_FLUSH_SECONDS (60 s), and a frozen environment "
    "stores none"
)


def no_function(pattern: str, functions: Sequence[str]) -> str:
    """Return the reason if no function matches."""
    if not functions:
        return (
            "the destination has no objects yet: check the prefix, and the log of the function in CloudWatch "
            "for messages of logferry"
        )
    names = ", ".join(functions[:_SHOWN]) + (", …" if len(functions) > _SHOWN else "")
    return f"no function matches {pattern!r}; the destination has {names}"


def no_objects(last_stored: datetime | None, now: datetime) -> str:
    """Return the reason if the functions have stored no new object."""
    if last_stored is None:
        return f"no object was stored in the last hour; {_POLICIES}"
    age = max(0.0, (now - last_stored).total_seconds())
    return f"last object {age:.0f} s ago; {_POLICIES}"
