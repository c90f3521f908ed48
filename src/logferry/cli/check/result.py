"""Results of the checks: one step, and the report of all steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Step:
    """Result of one check, with the remedy if something must or should change."""

    name: str
    status: Status
    detail: str
    notes: tuple[str, ...] = ()
    """Further facts, one sentence each: mistakes, missing permissions."""
    remedy: str = ""
    statements: tuple[Mapping[str, Any], ...] = ()
    """IAM statements that allow what is missing."""
    missing: tuple[str, ...] = ()
    """Missing permissions, such as `s3:PutObjectTagging`."""

    def as_values(self) -> dict[str, Any]:
        """Return the step as JSON values, without empty ones."""
        values = {
            "name": self.name,
            "status": self.status,
            "detail": self.detail,
            "notes": list(self.notes),
            "remedy": self.remedy,
            "missing": list(self.missing),
            "statements": [dict(each) for each in self.statements],
        }
        return {name: value for name, value in values.items() if value}


@dataclass
class Report:
    """The steps in the order in which they were made."""

    destination: str
    settings: str
    """Source of the settings, such as the name of a file."""
    steps: list[Step] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """0 if no step has failed, else 1."""
        return int(any(step.status == "failed" for step in self.steps))

    def as_values(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "status": self.exit_status,
            "destination": self.destination,
            "settings": self.settings,
            "steps": [step.as_values() for step in self.steps],
        }
