"""A destination that is a directory."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from logferry.sinks.directory import DirectorySink
from support.check_runs import check

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.records.model import StoredObject


@pytest.mark.parametrize("is_present", [False, True])
def test_a_directory_is_writable_and_nothing_remains(tmp_path: Path, *, is_present: bool) -> None:
    """The folders that the canary needed are removed, and those from before are not."""
    root = tmp_path / "a" / "b"
    if is_present:
        root.mkdir(parents=True)
    done = check({}, f"file://{root}", "--reading")
    assert done.status == 0, done.output
    assert {"put", "space", "read", "delete"} <= done.steps.keys()
    assert [path.name for path in tmp_path.rglob("*")] == (["a", "b"] if is_present else [])


def test_a_directory_below_a_missing_one_is_checked(tmp_path: Path) -> None:
    """The extension stores objects in `b` if the destination is `a/../b`, also if there is no `a`."""
    done = check({}, f"file://{tmp_path}/a/../b")
    assert done.status == 0, done.output
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_other_files_keeps_them(tmp_path: Path) -> None:
    """Only the canary is removed."""
    (tmp_path / "function=x").mkdir()
    (tmp_path / "function=x" / "object").write_text("kept")
    assert check({}, f"file://{tmp_path}").status == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["function=x", "object"]


def test_a_file_with_the_name_of_the_directory_fails(tmp_path: Path) -> None:
    """The message has the path, and the remedy is another directory."""
    (tmp_path / "out").write_text("in the way")
    done = check({}, f"file://{tmp_path}/out")
    assert (done.status, done.steps["put"]["status"]) == (1, "failed")
    assert f"{tmp_path}/out" in done.steps["put"]["detail"]


def test_a_directory_that_cannot_be_made_fails() -> None:
    """The reason is that of the system."""
    done = check({}, "file:///proc/logferry-check/out")
    assert (done.status, done.steps["put"]["status"]) == (1, "failed")
    assert "No such file or directory" in done.steps["put"]["detail"]
    assert "mounted file system" in done.steps["put"]["remedy"]


def test_files_that_appear_during_the_check_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function can store its first object in a directory that the check has made."""
    put = DirectorySink.put

    async def put_and_more(sink: DirectorySink, stored: StoredObject) -> None:
        await put(sink, stored)
        (tmp_path / "out" / "object").write_text("kept")

    monkeypatch.setattr(DirectorySink, "put", put_and_more)
    done = check({}, f"file://{tmp_path}/out")
    assert done.steps["delete"]["status"] == "ok"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["object", "out"]


def test_the_remedy_names_the_setting_of_the_fallback(tmp_path: Path) -> None:
    """The checks of both destinations are the same."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = check({"LOGFERRY_FALLBACK_DESTINATION": f"https://127.0.0.1:{port}/in"}, f"file://{tmp_path}/a")
    step = done.steps["fallback connection"]
    assert step["status"] == "failed"
    assert "LOGFERRY_FALLBACK_DESTINATION" in step["remedy"]


def test_the_fallback_destination_is_checked_too(tmp_path: Path) -> None:
    """A fallback that fails only shows when it is needed."""
    (tmp_path / "second").write_text("in the way")
    given = {"LOGFERRY_FALLBACK_DESTINATION": f"file://{tmp_path}/second"}
    done = check(given, f"file://{tmp_path}/first")
    assert done.status == 1
    assert (done.steps["put"]["status"], done.steps["fallback put"]["status"]) == ("ok", "failed")
    (tmp_path / "second").unlink()
    assert check(given, f"file://{tmp_path}/first").status == 0
