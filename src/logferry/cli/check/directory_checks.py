"""Checks of a destination that is a directory: it is writable, and has space."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.check.canary import FOLDER, canary_of
from logferry.cli.check.result import Step
from logferry.errors import SinkError
from logferry.sinks.directory import DirectorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logferry.cli.check.context import Context

LOW_BYTES = 64 << 20
"""Free space below which a warning is given, in bytes: that of the default spool."""


async def directory_steps(context: Context) -> AsyncIterator[Step]:
    """Yield the steps for a directory. The canary is removed again, also the folders that it needed."""
    root = _resolved(context.settings.destination.path)
    present = [parent for parent in (root / FOLDER, *(root / FOLDER).parents) if parent.exists()]
    stored = canary_of(object_headers={})
    try:
        await DirectorySink(root).put(stored)
    except SinkError as error:
        remedy = "choose a directory that this user can write to; in Lambda, this is /tmp or a mounted file system"
        yield Step("put", "failed", str(error), remedy=remedy)
        return
    yield Step("put", "ok", str(root / stored.key))
    free = shutil.disk_usage(root).free
    is_low = free < LOW_BYTES
    remedy = "free space, or choose another directory" if is_low else ""
    yield Step("space", "warning" if is_low else "ok", f"{free >> 20:,} MiB free", remedy=remedy)
    if context.reading:
        yield _read(root / stored.key, stored.body)
    yield _delete(root, stored.key, present[0] if present else root)


def _resolved(path: str) -> Path:
    """Return a path without parts such as `..`, as the sink does, because a folder before them need not exist."""
    return Path(path).resolve()


def _read(path: Path, body: bytes) -> Step:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Step("read", "failed", f"reading {path} failed: {error.strerror}", remedy="allow this user to read it")
    if content != body:
        return Step("read", "failed", f"{path} has other content", remedy="check the file system")
    return Step("read", "ok", "the canary was read")


def _delete(root: Path, key: str, stop: Path) -> Step:
    """Remove the canary with its metadata, and each empty folder below `stop`."""
    path = root / key
    try:
        path.unlink()
        path.with_name(path.name + ".meta.json").unlink()
        for parent in path.parents:
            if parent == stop or any(parent.iterdir()):
                break
            parent.rmdir()
    except OSError as error:
        return Step("delete", "skipped", f"{path} remains: {error.strerror}", remedy="delete it by hand")
    return Step("delete", "ok", "the canary was deleted")
