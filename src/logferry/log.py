"""logferry's own messages: one line each on stdout, as text or JSON.

Guarantees:
- A message below the configured level costs one comparison. structlog is imported with the first
  message that passes.
- A message is one line. Lambda splits stdout by lines, and a second line would be a separate
  record.
- If structlog cannot be imported, the same line is written without it. Causes are exhausted file
  descriptors, and a message during startup, while a module that structlog imports is half loaded.

Design: structlog takes several milliseconds of CPU time to import, and most execution environments
never log a message. The lines have the form of the supervisor's lines. Lambda sends them to
CloudWatch as the `extension` stream. No message is a reaction to a record, so the messages cannot
cause further messages.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_UNCONFIGURED, _DEBUG, _INFO, _WARNING, _ERROR = 0, 10, 20, 30, 40
_LEVELS = {"debug": _DEBUG, "info": _INFO, "warning": _WARNING, "error": _ERROR}


class Logger:
    """Messages of one threshold and one form; `get_logger` returns the logger of the process."""

    __slots__ = ("_as_json", "_threshold", "may_import")

    def __init__(self) -> None:
        self._threshold = _UNCONFIGURED
        self._as_json = False
        self.may_import = True
        """Whether a message may import structlog. It must not while a module that structlog needs is half loaded."""

    def set_form(self, *, level: str, as_json: bool) -> None:
        """Store the level and the form of the messages that follow."""
        self._threshold = _LEVELS[level]
        self._as_json = as_json

    def debug(self, message: str, **details: object) -> None:
        """Log a step, for a developer."""
        if self._threshold <= _DEBUG:
            self._log("debug", message, details)

    def info(self, message: str, **details: object) -> None:
        """Log an event that a user may want to see."""
        if self._threshold <= _INFO:
            self._log("info", message, details)

    def warning(self, message: str, **details: object) -> None:
        """Log an event that delays records or needs an action."""
        if self._threshold <= _WARNING:
            self._log("warning", message, details)

    def error(self, message: str, **details: object) -> None:
        """Log an event that loses records or disables logferry."""
        if self._threshold <= _ERROR:
            self._log("error", message, details)

    def _log(self, level: str, message: str, details: dict[str, object]) -> None:
        try:
            if not self.may_import:
                raise ImportError("a module is half loaded")  # noqa: TRY301 - the line is written below
            import structlog  # noqa: PLC0415 - most environments never need it
        except Exception:  # noqa: BLE001 - no error of an import is worth a lost line
            render = _as_json if self._as_json else _as_text
            sys.stdout.write(render(None, level, {"message": message, "level": level, **details}) + "\n")
            sys.stdout.flush()
            return
        # Without `configure`, as in unit tests, structlog keeps its own configuration.
        if self._threshold != _UNCONFIGURED and not structlog.is_configured():
            _configure_structlog(structlog, as_json=self._as_json)
        getattr(structlog.get_logger(), level)(message, **details)


_LOGGER = Logger()


def get_logger() -> Logger:
    """Return the logger of this process."""
    return _LOGGER


def configure(*, level: str, as_json: bool) -> None:
    """Set the level and the form: JSON if the function logs JSON (AWS_LAMBDA_LOG_FORMAT), else text."""
    _LOGGER.set_form(level=level, as_json=as_json)


def _configure_structlog(structlog: Any, *, as_json: bool) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.EventRenamer("message"),
            _as_json if as_json else _as_text,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
    )


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    import json  # noqa: PLC0415 - with the first message

    head = {"level": event.pop("level"), "logger": "logferry", "message": event.pop("message")}
    return json.dumps(head | dict(event), default=str)


def _as_text(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    level, message = event.pop("level"), " ".join(event.pop("message").splitlines())
    details = " ".join(f"{name}={value!r}" for name, value in event.items())
    return f"logferry {level}: {message}" + (f" ({details})" if details else "")
