"""The objects of the first and of the fallback destination together, for the comparison with the accepted records."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.end_to_end import Arrived


def together(first: Sequence[Arrived], second: Sequence[Arrived]) -> tuple[list[Arrived], int]:
    """Return each segment once, and the number of copies. Assert that copies have the same records and the same key."""
    assert not any("fallback" in one.metadata for one in first)
    assert all(one.metadata["fallback"] == "true" for one in second)
    known = {_segment(one): one for one in first}
    copies = [one for one in second if _segment(one) in known]
    for copy in copies:
        assert copy.records == known[_segment(copy)].records
        assert copy.key == known[_segment(copy)].key
    return [*first, *(one for one in second if _segment(one) not in known)], len(copies)


def _segment(one: Arrived) -> tuple[str, int]:
    return one.metadata["environment"], int(one.metadata["segment"])
