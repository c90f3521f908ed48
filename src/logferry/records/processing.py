"""Processing of records that the optional settings request, as one value. Pure.

Design: `encoder` receives `make_lines`, so that it neither knows the features nor imports them. The settings are read
before the first batch is answered, so the modules that process records are imported later, in `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logferry.records.fields import Fields
    from logferry.records.masking import Masker
    from logferry.records.model import Header
    from logferry.records.processed_lines import ProcessedLines
    from logferry.records.selection import Selection


NDJSON, TEXT, OTLP = "ndjson", "text", "otlp"


def lines_of_format(name: str) -> type[ProcessedLines]:
    """Return the class of the lines of a format. The modules of the others are not imported."""
    if name == TEXT:
        from logferry.records.text_lines import TextLines  # noqa: PLC0415 - only one format is used

        return TextLines
    if name == OTLP:
        from logferry.records.otlp_lines import OtlpLines  # noqa: PLC0415 - only one format is used

        return OtlpLines
    from logferry.records.processed_lines import ProcessedLines  # noqa: PLC0415 - only one format is used

    return ProcessedLines


class Processing(NamedTuple):
    """Selection, masking and further columns of the records of an environment."""

    selection: Selection | None = None
    masker: Masker | None = None
    fields: Fields | None = None
    format: str = NDJSON

    def load(self) -> None:
        """Import the modules that process records, before the first segment needs them."""
        lines_of_format(self.format)

    def make_lines(self, header: Header, types: frozenset[str], bodies: Iterable[bytes]) -> ProcessedLines:
        """Return the lines of a segment. `bodies` are read before, if a rule depends on the platform's records."""
        sample = self.selection.sample if self.selection else None
        facts = None
        if (sample and sample.keep_errors) or (self.fields and self.fields.needs_facts):
            from logferry.records.segment_facts import SegmentFacts  # noqa: PLC0415 - few settings need it

            facts = SegmentFacts(header, bodies)
        return lines_of_format(self.format)(
            header,
            types,
            selection=self.selection,
            masker=self.masker,
            fields=self.fields,
            facts=facts,
        )
