"""Selection of the records that are stored. Pure.

Guarantees:
- A minimum level and expressions apply to lines of the function and of extensions only. A line without a level is kept.
- A dropped invocation is dropped with its platform records; records without a request are always kept.
- Records of logferry are always kept: they report losses.
- If a rule fails, the record is kept, and the caller counts it.

Design: the cheapest rule decides first: type, sample, expressions, level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logferry.records.internal import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from logferry.records.patterns import Pattern
    from logferry.records.sampling import Sample
    from logferry.records.text_block import TextBlock

LINES = frozenset({"function", "extension"})
"""Types of records that are lines."""
ANY_REST = "*"
"""End of a type that stands for all types with this beginning."""


class Selection(NamedTuple):
    """The rules of an environment."""

    min_rank: int = 0
    """Rank of the lowest level that is kept."""
    rank_of: Callable[[object], int | None] | None = None
    """Return the rank of a record's level (`levels.rank_of`). It is given with `min_rank`."""
    include: Pattern | None = None
    exclude: Pattern | None = None
    types: frozenset[str] = frozenset()
    """Types of records that are dropped."""
    type_prefixes: tuple[str, ...] = ()
    """Beginnings of types of records that are dropped."""
    sample: Sample | None = None

    @property
    def reads_lines(self) -> bool:
        """Whether a rule depends on the content of a line."""
        return bool(self.min_rank or self.include or self.exclude)

    def drops_type(self, kind: str) -> bool:
        """Return whether records of this type are dropped."""
        if kind.startswith(PREFIX):
            return False
        return kind in self.types or bool(self.type_prefixes and kind.startswith(self.type_prefixes))

    def drops_request(self, request_id: str, succeeded: Container[str]) -> bool:
        """Return whether an invocation is dropped. `succeeded` has the requests with a proven success."""
        if self.sample is None or self.sample.contains(request_id):
            return False
        return not self.sample.keep_errors or request_id in succeeded

    def drops_line(self, record: object, text: str) -> bool:
        """Return whether a line is dropped. `record` is a text or a JSON value, `text` its text."""
        if self.include and not self.include.matches(text):
            return True
        if self.exclude and self.exclude.matches(text):
            return True
        return self._is_below(record)

    def dropped_in(self, block: TextBlock) -> set[int]:
        """Return the indexes of the texts of a run that are dropped; the same as one by one."""
        texts = block.texts
        dropped: set[int] = set()
        if self.include:
            included = {index for index in block.candidates(self.include) if self.include.matches(texts[index])}
            dropped.update(index for index in range(len(texts)) if index not in included)
        if self.exclude:
            dropped.update(index for index in block.candidates(self.exclude) if self.exclude.matches(texts[index]))
        if self.min_rank:
            dropped.update(index for index, text in enumerate(texts) if index not in dropped and self._is_below(text))
        return dropped

    def _is_below(self, record: object) -> bool:
        rank = self.rank_of(record) if self.rank_of else None
        return rank is not None and rank < self.min_rank
