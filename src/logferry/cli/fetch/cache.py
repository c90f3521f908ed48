"""Cache of fetched objects: `$XDG_CACHE_HOME/logferry/BUCKET/KEY`, with a limit of its size.

Guarantees:
- A file is either complete or absent: it is written under another name and renamed.
- An object that was replaced is fetched again, because the name of its file contains ETag and size.
- Every path is inside the cache, whatever the key is. A part of a key that is no valid file name is
  replaced by its hash.
- Above the limit, the files that were used least recently are removed.

Design: objects never change, so a key is fetched once. DuckDB reads function, date and hour from
the path and the compression from the suffix, so the ETag is in front of the name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logferry.cli.fetch.source import ListedObject

MAX_BYTES = 2 << 30
"""Default size of the cache, in bytes."""
MAX_PART_BYTES = 180
"""Maximum length of a part of a key in a path, in bytes. File systems allow 255 with the ETag."""
PARTIAL_SUFFIX = ".part"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\*?\[\]{}]")
"""Control characters, and the characters that DuckDB reads as a pattern of file names."""


class Cache:
    """Fetched objects of one bucket. `usage_files` are set to the current time when they are used."""

    def __init__(self, root: Path, bucket: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._root = root
        self._folder = root / bucket
        self._max_bytes = max_bytes

    def find(self, listed: ListedObject) -> Path | None:
        """Return the file of an object, or None if it is not in the cache."""
        path = self.path_of(listed)
        try:
            if path.stat().st_size != listed.size:
                return None
            os.utime(path)
        except OSError:
            return None
        return path

    def add(self, listed: ListedObject, body: bytes) -> Path:
        """Write a fetched object and return its file. Raise OSError."""
        path = self.path_of(listed)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PARTIAL_SUFFIX)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        return path

    def path_of(self, listed: ListedObject) -> Path:
        """Return the path of an object in the cache."""
        *folders, name = map(_safe, listed.key.split("/"))
        identity = hashlib.sha256(f"{listed.etag} {listed.size} {listed.key}".encode(errors="replace")).hexdigest()[:16]
        return self._folder.joinpath(*folders, f"{identity}-{name}")

    def trim(self) -> int:
        """Remove the files that were used least recently, and return their number."""
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self._max_bytes
        removed = 0
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
                excess -= size
        return removed


def cache_folder() -> Path:
    """Return the folder of the cache (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "logferry"


def _safe(part: str) -> str:
    """Return a part of a key as a file name."""
    if part in {"", ".", ".."} or len(part.encode(errors="replace")) > MAX_PART_BYTES or _UNSAFE.search(part):
        suffix = re.search(r"(?:\.ndjson|\.json)?(?:\.gz|\.zst)?$", part)
        return hashlib.sha256(part.encode(errors="replace")).hexdigest()[:24] + (suffix[0] if suffix else "")
    return part
