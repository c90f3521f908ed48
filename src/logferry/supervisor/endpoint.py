"""Listening socket, its port, and the secret path of the subscription.

Guarantees:
- The socket listens before the subscription is made, as the Telemetry API requires.
- If the configured port is in use, the socket listens on a free one.
- The path is the same after a reset of the environment, as long as the spool can be written.
- A spool that cannot be used changes the path only. The shipper reports such a spool.

Design: the supervisor keeps the socket open while it replaces a shipper, so batches wait in the
kernel's backlog. The path is stored in the spool, because the platform delivers a batch from before
a reset to the old path.
"""

import _socket
import posix

PATH_FILE = b"/path-token"
"""Name of the file in the spool that holds the path."""
OPEN_FLAGS = posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
"""Flags for the file. The function can write to the spool: a link must not lead to another file,
and a pipe must not block the cold start."""
TOKEN_BYTES = 16
BACKLOG = 128
"""Connections that the kernel completes while no shipper accepts them."""
EEXIST = 17
"""Number of the error "file exists" on Linux. `import errno` would be one more import."""


class Endpoint:
    """Listening socket and path. `conflict` is the reason why the configured port is not used, or empty."""

    __slots__ = ("conflict", "listener", "path")

    def __init__(self, *, listener: _socket.socket, path: bytes, conflict: str) -> None:
        self.listener = listener
        self.path = path
        self.conflict = conflict

    @classmethod
    def open(cls, *, port: int, spool_dir: str) -> "Endpoint":
        """Listen on `port`, or on a free one if it is taken. Raise OSError if both fail."""
        conflict = ""
        try:
            listener = listen(port)
        except OSError as error:
            conflict = "port %d is not available (%s)" % (port, error.strerror)
            listener = listen(0)
        return cls(listener=listener, path=stored_path(spool_dir.encode("utf-8", "surrogateescape")), conflict=conflict)

    @property
    def port(self) -> int:
        """Port on which the socket listens."""
        return int(self.listener.getsockname()[1])

    def close(self) -> None:
        """Close the socket, so that the kernel refuses connections.

        An open port without a reader would block the platform.
        """
        self.listener.close()


def listen(port: int) -> _socket.socket:
    """Return a listening socket. Raise OSError.

    Port 0 means any free port. The socket listens on all interfaces, because `sandbox.localdomain`
    is not the loopback interface on Lambda.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def stored_path(spool_dir: bytes) -> bytes:
    """Return the path in the spool, or a new one, which is stored if the spool can be written."""
    path = b"/" + posix.urandom(TOKEN_BYTES).hex().encode()
    try:
        posix.mkdir(spool_dir, 0o700)
    except OSError as error:
        if error.errno != EEXIST:
            return path
    try:
        fd = posix.open(spool_dir + PATH_FILE, OPEN_FLAGS, 0o600)
    except OSError:
        return path
    try:
        stored = posix.read(fd, 64)
        if is_path(stored):
            return stored
        posix.ftruncate(fd, 0)
        posix.pwrite(fd, path, 0)
    except OSError:
        return path
    finally:
        posix.close(fd)
    return path


def is_path(stored: bytes) -> bool:
    """Return whether the content of the file has the form of a path that `stored_path` made."""
    return len(stored) == 1 + 2 * TOKEN_BYTES and stored[:1] == b"/" and stored[1:].isalnum()
