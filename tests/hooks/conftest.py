"""Fixtures of the tests of the hooks: a server that functions call, and the event pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.calls_server import CallsServer, calls_server
from support.python_hook import PipeReader, pipe_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallsServer]:
    """Serve HTTPS on loopback for all tests of the hooks."""
    with calls_server(tmp_path_factory.mktemp("https")) as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Return the path of a spool directory that does not exist."""
    return tmp_path / "spool"


@pytest.fixture
def pipe(spool: Path) -> Iterator[PipeReader]:
    """Make the event pipe in the spool directory."""
    with pipe_reader(spool) as reader:
        yield reader
