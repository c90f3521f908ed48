"""Who may deliver: the subscription names a path that is hard to guess, and the platform posts there.

Anybody beside us (the function, other extensions) can reach the port, and a forged `platform.runtimeDone` would end a
wait too early. What the Telemetry API offers to tell them apart is the path of the subscribed URI: once the platform
has been seen to use it, no other is answered. Until then, and where it is never used (AWS's emulator of Managed
Instances drops it), any path is. The path lies in the spool, so that a delivery left over from before a reset is still
admitted; a function that reads our files can therefore still pretend, as it could read our memory: both run as one
user.
"""

from __future__ import annotations


class PathToken:
    """Knows the path of the subscription, and whether the platform uses it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._used = False

    def is_allowed(self, path: str) -> bool:
        """Whether a delivery to that path may come in."""
        if path == self._path:
            self._used = True
        return path == self._path or not self._used
