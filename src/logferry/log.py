"""logferry's own messages: one line each on stdout, through structlog, quiet by default.

They look as the supervisor's do. Lambda sends them to CloudWatch as the `extension` stream; they are never logged in
reaction to a record, so they cannot feed themselves.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

get_logger = structlog.get_logger

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(*, level: str, as_json: bool) -> None:
    """Set the level and the form: JSON where the function logs JSON (AWS_LAMBDA_LOG_FORMAT), else text."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.EventRenamer("message"),
            _signed,
            structlog.processors.JSONRenderer(default=str) if as_json else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )


def _signed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {"level": event.pop("level"), "logger": "logferry"} | dict(event)


def _as_text(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    level, message = event.pop("level"), event.pop("message")
    event.pop("logger")
    details = " ".join(f"{name}={value!r}" for name, value in event.items())
    return f"logferry {level}: {message}" + (f" ({details})" if details else "")
