"""Errors, classified by what the caller can do.

    LogferryError
    ├── SettingsError        a person must correct the settings
    ├── JournalFull          refuse the batch
    ├── SegmentLost          count the loss
    ├── RecordsRejected      remove the segment, and count the loss of some of its records
    └── SinkError            keep the segment
        ├── SinkUnavailable  retry later
        └── SinkRejected     retry rarely, and report the remedy

Guarantees:
- A message states the event, its cause and the remedy.
- Errors of libraries are translated by the module that calls the library. They do not propagate
  further.
"""

from __future__ import annotations


class LogferryError(Exception):
    """The base class; it is not raised itself."""


class SettingsError(LogferryError):
    """Invalid settings. Nothing works until they are corrected; `mistakes` names all of them at once."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class JournalFull(LogferryError):
    """A batch could be stored neither on disk nor in memory. It is refused, so that the platform keeps it."""


class SegmentLost(LogferryError):
    """A sealed segment is missing or unreadable. Only its loss can be counted."""


class RecordsRejected(LogferryError):
    """The destination has stored an object except for `records` of its records, and will never store those."""

    def __init__(self, message: str, *, records: int) -> None:
        super().__init__(message)
        self.records = records


class SinkError(LogferryError):
    """An object could not be stored. The segment stays in the spool."""

    status = 0
    """Status of the destination's response, or 0 without one."""
    code = ""
    """Error code of the response, such as `AccessDenied`."""
    sentence = ""
    """The response's explanation, bounded and on one line."""
    retry_after = 0.0
    """Time until the next attempt that the destination requests, in seconds; 0 without a request."""

    is_of_object = False
    """Whether the cause is this object, such as its size. The destination may store others."""

    def restated(self, message: str) -> SinkError:
        """Return this error with another message, and with all that is known about the response."""
        error = type(self)(message)
        error.__dict__.update(self.__dict__)
        return error


class SinkUnavailable(SinkError):
    """A transient failure (network, 5xx, throttling). The object may have been stored; try again later."""


class SinkRejected(SinkError):
    """A failure that lasts until a person changes something (403, 404). Try again rarely, and report the remedy."""
