"""Fixture of the journal's tests: a disk that is soon full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.tmpfs import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 64 KiB; only root can make one."""
    with mounted(tmp_path / "disk", "size=64k") as disk:
        yield disk
