"""The processing of records that the optional settings request, as one value. Pure.

Design: `encoder` receives `make_lines`, so that it neither knows the features nor imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logferry.records.processed_lines import ProcessedLines
from logferry.records.sampling import Successes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.records.masking import Masker
    from logferry.records.model import Header
    from logferry.records.selection import Selection


class Processing(NamedTuple):
    """Selection and masking of the records of an environment."""

    selection: Selection | None = None
    masker: Masker | None = None

    def make_lines(self, header: Header, types: frozenset[str], bodies: Iterable[bytes]) -> ProcessedLines:
        """Return the lines of a segment. `bodies` are read before, if a sample needs the ends of invocations."""
        sample = self.selection.sample if self.selection else None
        return ProcessedLines(
            header,
            types,
            selection=self.selection,
            masker=self.masker,
            succeeded=Successes(header, bodies) if sample and sample.keep_errors else (),
        )
