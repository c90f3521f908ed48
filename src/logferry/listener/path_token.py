"""The path of the subscription as a token: only the platform knows it.

Guarantees:
- Once a request with the subscribed path has been received, requests with any other path are
  refused.
- Until then every path is allowed. AWS's emulator of Managed Instances drops the path and posts to
  `/`.

Design: any process of the execution environment (the function, other extensions) can reach the
port, and a forged `platform.runtimeDone` would end a wait too early. The path of the subscribed URI
is the only means of the Telemetry API to identify the platform. The path is stored in the spool, so
that a batch which is left over from before a reset is still accepted. A function that reads these
files can still forge batches, as it could read the extension's memory: both run as one user.
"""

from __future__ import annotations


class PathToken:
    """The subscribed path, and whether it has been used."""

    __slots__ = ("_path", "_used")

    def __init__(self, path: str) -> None:
        self._path = path
        self._used = False

    def is_allowed(self, path: str) -> bool:
        """Return whether a request to `path` is allowed."""
        if path == self._path:
            self._used = True
        return path == self._path or not self._used
