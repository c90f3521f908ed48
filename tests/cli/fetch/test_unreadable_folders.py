"""A folder that cannot be read is an error of each reading command, because its objects would be missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.fetch.directory import DirectorySource
from logferry.cli.fetch.request_usage import RequestUsage
from logferry.cli.fetch.selection import ListRange
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let a function of `os` fail for one name, as for a user without permission."""

    def set_up(function: str, name: str) -> None:
        real = getattr(os, function)

        def refused(path: Any, *given: Any, **named: Any) -> Any:
            if os.fspath(path).endswith(name):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return real(path, *given, **named)

        monkeypatch.setattr(os, function, refused)

    return set_up


@pytest.mark.parametrize(("function", "name"), [("scandir", "hour=02"), ("stat", "2.ndjson.gz")])
async def test_a_folder_that_cannot_be_read_is_an_error(
    function: str, name: str, tmp_path: Path, refuse: Callable[[str, str], None]
) -> None:
    """`os.walk` leaves it out by default."""
    for hour in (1, 2):
        folder = tmp_path / f"hour=0{hour}"
        folder.mkdir()
        (folder / f"{hour}.ndjson.gz").touch()
    source = DirectorySource(tmp_path, RequestUsage())
    pages = [page async for page in source.objects(ListRange(""))]
    assert len(pages[0]) == 2
    refuse(function, name)
    with pytest.raises(DestinationError, match=r"Permission denied.*check the mode of the directory"):
        [page async for page in source.objects(ListRange(""))]
    with pytest.raises(DestinationError, match=r"Permission denied.*check the mode of the directory"):
        await source.folder("hour=02/")
