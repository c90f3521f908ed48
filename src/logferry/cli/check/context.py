"""The context of the checks, and the interface of those for one kind of destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logferry.cli.check.result import Step
    from logferry.cli.check.settings_source import FunctionConfiguration
    from logferry.settings import Settings


@dataclass(frozen=True)
class Context:
    """Valid settings and the environment of one check. `environ` is also that of this process."""

    settings: Settings
    environ: dict[str, str]
    function: FunctionConfiguration | None = None
    reading: bool = False
    """Whether the permissions of the reading commands are checked too."""


class Checks(Protocol):
    """The checks of one kind of destination."""

    def __call__(self, context: Context) -> AsyncIterator[Step]:
        """Yield the steps in order. Each one is bounded in time, and a failure is a step."""
        ...
