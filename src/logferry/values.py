"""Parsers and defaults of the settings that the supervisor and the shipper both read.

Guarantees:
- The supervisor, the shipper and the commands accept the same values, because each kind of value
  has one parser.
- A parser returns a valid value or raises ValueError. The text of the error is the remedy.
- The supervisor uses the default for an invalid value, and the shipper reports it. An invalid value
  never switches logferry off silently.

Design: the supervisor reads six settings before it registers, and `settings.py` would cost it the
imports of `re` and `pathlib`. This module imports nothing. Callers strip the text and use the
default for an empty one.
"""

TYPE_CHECKING = False  # type checkers treat this name as true; `import typing` would cost each cold start 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    Value = TypeVar("Value")

PREFIX = b"LOGFERRY_"
"""First part of the name of each environment variable that is a setting."""

DEFAULT_PORT = 9513
"""Port of the listener. A fixed port lets the platform deliver a batch again after a reset of the
environment."""
RUNTIME_API_PORT = 9001
"""Port of the Runtime API inside the execution environment. A listener cannot use it."""
LOWEST_PORT = 1024
HIGHEST_PORT = 65_535
DEFAULT_SPOOL_DIR = "/tmp/logferry"  # noqa: S108 - the only writable directory on Lambda
LOG_LEVELS = ("debug", "info", "warning", "error")
"""Levels of logferry's own messages, from the least severe."""
DEFAULT_LOG_LEVEL = "warning"
RECORD_TYPES = ("platform", "function", "extension")
"""Kinds of records in the Telemetry API."""
DEFAULT_TYPES = "platform,function"
TRUE_WORDS = ("true", "1", "yes", "on")
FALSE_WORDS = ("false", "0", "no", "off")
SHORT_BUFFER_MS = 25
"""Shortest time that the Telemetry API buffers records, in milliseconds. It delays `platform.runtimeDone`."""


def parse_truth(text: str) -> bool:
    """Return the truth value of a word. Raise ValueError with the remedy for any other text."""
    word = text.lower()
    if word not in TRUE_WORDS and word not in FALSE_WORDS:
        raise ValueError("use true or false")
    return word in TRUE_WORDS


def parse_port(text: str) -> int:
    """Return the port of a listener. Raise ValueError with the remedy for any other text."""
    # The length is checked first, because `int` raises an error without a remedy for more than 4,300 digits.
    port = int(text) if len(text) <= len(str(HIGHEST_PORT)) and text.isascii() and text.isdigit() else -1
    if port == RUNTIME_API_PORT:
        raise ValueError("Lambda uses port 9001 itself, choose another one")
    if not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise ValueError("use a whole number from 1024 to 65535")
    return port


def parse_log_level(text: str) -> str:
    """Return a log level in lower case. Raise ValueError with the remedy for any other text."""
    if text.lower() not in LOG_LEVELS:
        raise ValueError("choose one of " + ", ".join(LOG_LEVELS))
    return text.lower()


def parse_types(text: str) -> frozenset[str]:
    """Return the kinds in a comma-separated list. Raise ValueError with the remedy otherwise."""
    chosen = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if not chosen or not chosen <= frozenset(RECORD_TYPES):
        raise ValueError("list one or more of " + ", ".join(RECORD_TYPES) + ", separated by commas")
    return chosen


def parse_directory(text: str) -> str:
    """Return an absolute path. Raise ValueError with the remedy for any other text."""
    if not text.startswith("/"):
        raise ValueError("use an absolute path")
    return text


def setting(
    environ: "Mapping[bytes, bytes]", name: bytes, parse: "Callable[[str], Value]", default: "Value"
) -> "Value":
    """Return the value of a setting, or the default for a missing, empty or invalid one.

    The supervisor reads its settings with this function. It cannot report a mistake for all of them,
    so the shipper does it (`settings.py`).
    """
    text = environ.get(PREFIX + name, b"").decode("utf-8", "surrogateescape").strip()
    try:
        return parse(text) if text else default
    except ValueError:
        return default
