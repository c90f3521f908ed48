"""What can go wrong, sorted by what the caller can do about it.

A message is a path for a person: what failed, why, and what to do. Foreign exceptions are translated in the room that
met them and never travel further.
"""


class LogferryError(Exception):
    """The root; never raised itself."""


class SettingsError(LogferryError):
    """The settings are wrong: nothing can work until a person mends them. `mistakes` names every one at once."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class JournalFull(LogferryError):
    """A body could not be stored, neither on disk nor in memory: refuse it, so that the platform keeps it."""


class SegmentLost(LogferryError):
    """A sealed segment is gone or unreadable: nothing can be done but to count the loss."""


class SinkError(LogferryError):
    """Storing an object failed; the segment stays."""


class SinkUnavailable(SinkError):
    """The store did not take it this time (network, 5xx, throttling): try again later, it may have been stored."""


class SinkRejected(SinkError):
    """The store will not take it until somebody changes something (403, 404): try again rarely, and say the remedy."""
