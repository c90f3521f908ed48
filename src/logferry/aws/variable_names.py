"""Names of settings in place of the AWS variables that they replace, in messages. Pure.

Design: the clients read AWS variables, and a setting may have replaced some of them. A message must name the variable
that a person can change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def renamed(message: str, names: Mapping[str, str]) -> str:
    """Return a message in which each complete word or phrase of `names` is replaced."""
    pattern = "|".join(re.escape(name) for name in names)
    return re.sub(rf"\b(?:{pattern})(?!\w)", lambda match: names[match[0]], message) if names else message
