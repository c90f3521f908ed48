"""A sink that is a directory, for trying logferry without S3 and for tests.

Guarantees:
- An object is a file at its key, next to `<key>.meta.json` with its metadata.
- An incomplete object is never visible: the file is written under another name and then renamed.
- No file is written outside the directory.
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
    """Storage of objects below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"<DirectorySink {self._root}>"

    async def connect(self) -> None:
        """Do nothing: a directory needs no connection."""

    async def put(self, stored: StoredObject) -> None:
        """Store one object.

        Raises SinkUnavailable if writing fails, SinkRejected for a key outside the directory.
        """
        path = (self._root / stored.key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise SinkRejected(f"the key {stored.key} leads out of {self._root}; correct LOGFERRY_KEY")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path.with_name(path.name + ".meta.json"), json.dumps(stored.metadata).encode())
            self._write(path, stored.body)
        except OSError as error:
            raise SinkUnavailable(f"writing {path} failed: {error}") from error

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_bytes(content)
        part.rename(path)
