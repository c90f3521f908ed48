"""All settings: the rows that every start reads, and those of the features that are off by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.options import MODULE_OF, tables
from logferry.settings_table import SETTINGS

if TYPE_CHECKING:
    from logferry.setting import Setting

ALL_SETTINGS: tuple[Setting, ...] = (
    *SETTINGS,
    *(row for table in tables(MODULE_OF).values() for row in table.SETTINGS),
)
"""All rows, in the order of the README."""
