"""Search for what S3 refuses in a PutObject request: further requests that leave out the headers of settings.

Guarantees:
- All missing permissions are found, also if S3 names one at a time or none.
- A permission is named if S3 names it, or if the request without its headers is stored.
- At most `MAX_ATTEMPTS` requests are sent. The search ends with the first one that has no response, because each
  further one would take as long.

Design: AWS names the first missing permission. The request is then repeated without the headers that need it, and the
next one shows. S3-compatible stores often answer `Access Denied` only. Then the smallest set of settings is searched
without which the object is stored. The search has no I/O: `attempt` sends a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from logferry.cli.check.denial import Advice, action_in, advice
from logferry.cli.check.header_groups import PUT, deniable_groups_in, groups_in, without

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from logferry.cli.check.header_groups import HeaderGroup
    from logferry.errors import SinkError

    Attempt = Callable[[Mapping[str, str]], Awaitable[SinkError | None]]

MAX_ATTEMPTS = 24
"""Limit of the further requests. The search for four settings needs at most 16."""
_FORBIDDEN = 403
_UNSUPPORTED_STATUS = frozenset({400, 501})


@dataclass
class Diagnosis:
    """Refused permissions and settings."""

    missing: dict[str, Advice] = field(default_factory=dict)
    """Missing permissions, and the policy that must change for each."""
    refused: list[HeaderGroup] = field(default_factory=list)
    """Settings without which the object is stored, although no permission explains it."""
    is_stored: bool = False
    """Whether one of the further requests has stored the canary."""
    is_inferred: bool = False
    """Whether S3 named no permission, and requests without headers showed it."""


def is_denied(error: SinkError) -> bool:
    """Return whether S3 has denied the request for a missing permission."""
    return error.status == _FORBIDDEN and error.code in {"", "AccessDenied"}


async def diagnose(headers: Mapping[str, str], error: SinkError, attempt: Attempt) -> Diagnosis:
    """Return what S3 refuses in a request with these headers, which failed with `error`."""
    bounded = _Bounded(attempt)
    if is_denied(error):
        return await _denied(headers, error, bounded)
    found = Diagnosis()
    if error.status in _UNSUPPORTED_STATUS:
        await _search(headers, [(group,) for group in groups_in(headers)], found, bounded)
    return found


async def _denied(headers: Mapping[str, str], error: SinkError, attempt: Attempt) -> Diagnosis:
    found = Diagnosis()
    remaining, current = dict(headers), error
    while True:
        action = action_in(current.sentence)
        # 1. S3 names no permission.
        if not action:
            groups = deniable_groups_in(remaining)
            found.is_inferred = True
            if await _search(remaining, list(_subsets(groups)), found, attempt) is False:
                found.missing.setdefault(PUT, advice(current.sentence))
            return found
        found.missing[action] = advice(current.sentence)
        group = next((each for each in deniable_groups_in(remaining) if each.permission == action), None)
        # 2. S3 names a permission that no setting removes.
        if group is None:
            return found
        # 3. The request without the headers of the setting shows the next one.
        remaining = without(remaining, [group])
        next_error = await attempt(remaining)
        if next_error is None:
            found.is_stored = True
            return found
        if not is_denied(next_error):
            return found
        current = next_error


async def _search(
    headers: Mapping[str, str], candidates: list[tuple[HeaderGroup, ...]], found: Diagnosis, attempt: Attempt
) -> bool | None:
    """Find the first set of settings without which the object is stored.

    Return whether there is one, or None if a request had no response.
    """
    for groups in candidates:
        error = await attempt(without(headers, groups))
        if error is not None and not error.status:
            return None
        if error is None:
            found.is_stored = True
            for group in groups:
                if group.permission and found.is_inferred:
                    found.missing[group.permission] = advice("")
                else:
                    found.refused.append(group)
            return True
    return False


def _subsets(groups: list[HeaderGroup]) -> Iterator[tuple[HeaderGroup, ...]]:
    """Yield all sets of settings, the smallest first."""
    for size in range(1, len(groups) + 1):
        yield from combinations(groups, size)


class _Bounded:
    """An attempt that reports the first error again after `MAX_ATTEMPTS` requests."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._left = MAX_ATTEMPTS
        self._error: SinkError | None = None

    async def __call__(self, headers: Mapping[str, str]) -> SinkError | None:
        if self._left <= 0 and self._error:
            return self._error
        self._left -= 1
        error = await self._attempt(headers)
        self._error = self._error or error
        return error
