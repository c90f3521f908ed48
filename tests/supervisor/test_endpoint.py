"""Listening socket, port and secret path of the subscription."""

from __future__ import annotations

import os
import re
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from logferry.supervisor import endpoint
from logferry.supervisor.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = endpoint.PATH_FILE.decode().lstrip("/")


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port on which another process listens."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


def test_endpoint_listens_on_the_wished_port(tmp_path: Path) -> None:
    """The port stays the same after a reset, so the platform finds the listener again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for _ in range(2):
        it = Endpoint.open(port=port, spool_dir=str(tmp_path))
        assert (it.port, it.conflict) == (port, "")
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        it.close()


def test_endpoint_listens_on_a_free_port_if_the_wished_one_is_taken(tmp_path: Path, taken: int) -> None:
    """The reason names the port and the error of the kernel."""
    it = Endpoint.open(port=taken, spool_dir=str(tmp_path))
    assert it.port not in (0, taken)
    assert it.conflict == f"port {taken} is not available (Address already in use)"
    socket.create_connection(("127.0.0.1", it.port), timeout=5).close()
    it.close()


def test_endpoint_listens_on_a_free_port_if_the_wished_one_is_privileged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any error of the wished port leads to a free one, not only a conflict."""
    real = endpoint.listen

    def listen(port: int) -> object:
        if port:
            raise PermissionError(13, "Permission denied")
        return real(port)

    monkeypatch.setattr(endpoint, "listen", listen)
    it = Endpoint.open(port=80, spool_dir=str(tmp_path))
    assert it.conflict == "port 80 is not available (Permission denied)"
    it.close()


def test_endpoint_refuses_connections_after_close(tmp_path: Path) -> None:
    """An open port that no process reads would block the platform until its timeout."""
    it = Endpoint.open(port=0, spool_dir=str(tmp_path))
    port = it.port
    it.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_path_is_kept_in_the_spool(tmp_path: Path) -> None:
    """A batch from before a reset is delivered to the old path."""
    spool = str(tmp_path / "spool").encode()
    first = endpoint.stored_path(spool)
    assert re.fullmatch(rb"/[0-9a-f]{32}", first)
    assert endpoint.stored_path(spool) == first
    assert (tmp_path / "spool" / NAME).read_bytes() == first


def test_path_differs_between_environments(tmp_path: Path) -> None:
    """A process in another environment cannot guess the path."""
    assert endpoint.stored_path(str(tmp_path / "a").encode()) != endpoint.stored_path(str(tmp_path / "b").encode())


def test_spool_and_path_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """A process of another user must not learn the path."""
    spool = tmp_path / "spool"
    endpoint.stored_path(str(spool).encode())
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    assert stat.S_IMODE((spool / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"/",
        b"/short",
        b"/" + b"a" * 33,
        b"a" * 33,
        b"/" + b"a" * 31 + b"/",
        b"/../../etc HTTP/1.1\r\nX: y" + b"a" * 9,
    ],
)
def test_path_is_replaced_if_the_file_has_other_content(tmp_path: Path, content: bytes) -> None:
    """Foreign bytes never reach the subscription's URI, and the new path is stored completely."""
    (tmp_path / NAME).write_bytes(content)
    path = endpoint.stored_path(str(tmp_path).encode())
    assert endpoint.is_path(path)
    assert path != content
    assert (tmp_path / NAME).read_bytes() == path


def test_path_does_not_follow_a_link_in_the_spool(tmp_path: Path) -> None:
    """The function can write to the spool; a link must not make the supervisor overwrite another file."""
    target = tmp_path / "target"
    target.write_bytes(b"content of another program")
    (tmp_path / NAME).symlink_to(target)
    assert endpoint.is_path(endpoint.stored_path(str(tmp_path).encode()))
    assert target.read_bytes() == b"content of another program"


@pytest.mark.timeout(10)
def test_path_does_not_block_on_a_pipe_in_the_spool(tmp_path: Path) -> None:
    """A read from a pipe without a writer would hold the Init phase until its limit."""
    os.mkfifo(tmp_path / NAME)
    assert endpoint.is_path(endpoint.stored_path(str(tmp_path).encode()))


def _is_a_file(spool: Path) -> None:
    spool.write_bytes(b"")


def _has_a_directory(spool: Path) -> None:
    (spool / NAME).mkdir(parents=True)


def _has_no_parent(spool: Path) -> None:
    spool.parent.rmdir()


@pytest.mark.parametrize("fault", [_is_a_file, _has_a_directory, _has_no_parent])
def test_path_is_new_at_each_start_if_the_spool_cannot_be_used(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    """The shipper reports such a spool; the subscription works all the same."""
    parent = tmp_path / "parent"
    parent.mkdir()
    fault(parent / "spool")
    spool = os.fsencode(parent / "spool")
    first, second = endpoint.stored_path(spool), endpoint.stored_path(spool)
    assert endpoint.is_path(first)
    assert endpoint.is_path(second)
    assert first != second
