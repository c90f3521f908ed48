"""A sink that is a directory: for trying logferry without S3, and for tests.

An object is a file at its key, and beside it `<key>.meta.json` with its metadata. The object appears whole or not at
all: it is written under another name and renamed.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from logferry.errors import SinkRejected, SinkUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.records.model import StoredObject


class DirectorySink:
    """Stores objects below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"<DirectorySink {self._root}>"

    async def warm(self) -> None:
        """Nothing to prepare."""

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def put(self, stored: StoredObject) -> None:
        """Store one object. Raises SinkUnavailable when the directory does not take it, SinkRejected for a bad key."""
        path = (self._root / stored.key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise SinkRejected(f"the key {stored.key} leads out of {self._root}; correct LOGFERRY_KEY")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path.with_name(path.name + ".meta.json"), json.dumps(stored.metadata).encode())
            self._write(path, stored.body)
        except OSError as error:
            raise SinkUnavailable(f"writing {path} failed: {error}") from error

    async def close(self) -> None:
        """Nothing to release."""

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_bytes(content)
        part.rename(path)
