"""The pipe on the side of the supervisor: what it makes, what it leaves unchanged, and what it removes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logferry.supervisor.event_pipe import EventPipe, is_wanted

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534


def test_pipe_is_private_and_never_blocks(tmp_path: Path) -> None:
    """The spool is created with it, the pipe belongs to this user alone, and both ends are open."""
    pipe = EventPipe(str(tmp_path / "spool"))
    path = tmp_path / "spool" / "events"
    assert pipe.sources.problem == ""
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not os.get_inheritable(pipe.sources.pipe_fd)
    writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writing, b"line\n")
    assert os.read(pipe.sources.pipe_fd, 100) == b"line\n"
    with pytest.raises(BlockingIOError):
        os.read(pipe.sources.pipe_fd, 100)
    os.close(writing)
    pipe.close()
    assert not path.exists()
    pipe.close()


def test_pipe_of_an_earlier_supervisor_is_used_again(tmp_path: Path) -> None:
    """After a reset of the environment, /tmp still holds the pipe; its mode is corrected."""
    os.mkfifo(tmp_path / "events", 0o600)
    (tmp_path / "events").chmod(0o666)
    pipe = EventPipe(str(tmp_path))
    assert pipe.sources.problem == ""
    assert stat.S_IMODE((tmp_path / "events").stat().st_mode) == 0o600
    pipe.close()


def a_file(path: Path) -> None:
    """Put a file at a path."""
    path.write_text("content")


def a_link(path: Path) -> None:
    """Put a link at a path."""
    path.symlink_to("/etc/passwd")


def a_link_to_a_pipe(path: Path) -> None:
    """Put a link to another pipe at a path."""
    os.mkfifo(path.with_name("other"), 0o600)
    path.symlink_to(path.with_name("other"))


def a_socket(path: Path) -> None:
    """Put a Unix socket at a path."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def a_foreign_pipe(path: Path) -> None:
    """Put a pipe of another user at a path."""
    if os.geteuid():
        pytest.skip("only root can create a pipe of another user")
    os.mkfifo(path, 0o666)
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_file, "not a pipe of this user"),
        (Path.mkdir, "directory"),
        (a_link, "symbolic link"),
        (a_link_to_a_pipe, "symbolic link"),
        (a_socket, "No such device or address"),
        (a_foreign_pipe, "not a pipe of this user"),
    ],
)
def test_anything_else_at_the_path_is_left_unchanged(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    """The problem is a text with a remedy, and there is no pipe."""
    path = tmp_path / "events"
    make(path)
    before, passwd = path.lstat(), Path("/etc/passwd").stat()
    pipe = EventPipe(str(tmp_path))
    assert pipe.sources.pipe_fd == -1
    assert pipe.sources.problem.startswith(f"{path}: ")
    assert reason in pipe.sources.problem
    assert "LOGFERRY_SPOOL_DIR" in pipe.sources.problem
    pipe.close()
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_size, after.st_mtime_ns) == (
        *(before.st_ino, before.st_mode, before.st_size, before.st_mtime_ns),
    )
    assert Path("/etc/passwd").stat().st_mtime_ns == passwd.st_mtime_ns


def test_spool_that_cannot_be_used_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    """The supervisor goes on without a pipe."""
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "no" / "parent"):
        pipe = EventPipe(str(directory))
        assert pipe.sources.pipe_fd == -1
        assert pipe.sources.problem
        pipe.write_url(1, is_configured=False)
        pipe.close()


def test_url_is_stored_only_if_the_configured_port_is_not_used(tmp_path: Path) -> None:
    """A client reads the file first, so an older one must not remain."""
    path = tmp_path / "events-url"
    pipe = EventPipe(str(tmp_path))
    pipe.write_url(40_000, is_configured=False)
    assert path.read_text() == "http://127.0.0.1:40000/events\n"
    pipe.write_url(9513, is_configured=True)
    assert not path.exists()
    path.symlink_to(tmp_path / "target")
    pipe.write_url(40_000, is_configured=False)
    assert not (tmp_path / "target").exists()
    pipe.close()
    assert not path.is_symlink()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({b"LOGFERRY_EVENTS": b"true"}, True),
        ({b"LOGFERRY_EVENTS": b" 1 "}, True),
        ({b"LOGFERRY_EVENTS": b"false"}, False),
        ({b"LOGFERRY_EVENTS": b"perhaps"}, False),
        ({b"LOGFERRY_CALLS": b"each"}, True),
        ({b"LOGFERRY_CALLS": b"Summary "}, True),
        ({b"LOGFERRY_CALLS": b"off"}, False),
        ({b"LOGFERRY_EVENTS": b"false", b"LOGFERRY_CALLS": b"each"}, True),
    ],
)
def test_pipe_is_made_if_a_setting_needs_it(environ: dict[bytes, bytes], *, wanted: bool) -> None:
    """An invalid value counts as not set, and the shipper reports it."""
    assert is_wanted(environ) is wanted


def test_module_is_not_imported_without_a_setting(tmp_path: Path) -> None:
    """Each module costs every cold start, so the supervisor looks at two variables only."""
    look = (
        f"import sys; sys.path.append({str(Path(__file__).parents[2] / 'src')!r})\n"
        "from logferry.supervisor.supervisor import Supervisor\n"
        "from logferry.supervisor.lambda_api import LambdaApi\n"
        "environ = dict(pair.encode().split(b'=') for pair in sys.argv[1:])\n"
        "it = Supervisor(api=LambdaApi(b'127.0.0.1:1'), environ=environ); it._open_endpoint()\n"
        "print('logferry.supervisor.event_pipe' in sys.modules, it._event_pipe is not None); it._close_endpoint()\n"
    )
    base = [f"LOGFERRY_SPOOL_DIR={tmp_path}", "LOGFERRY_PORT=0"]
    for settings, expected in (([], "False False\n"), (["LOGFERRY_EVENTS=true"], "True True\n")):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", look, *base, *settings],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert done.stdout == expected
    assert not (tmp_path / "events").exists()
