"""The named pipe for the function's own events, on the side of the supervisor.

Guarantees:
- The module is imported only if LOGFERRY_EVENTS or LOGFERRY_CALLS is set.
- The pipe exists before the extension registers, and therefore before the runtime starts.
- Anything else at its path is left unchanged: a file, a directory, a link, or the pipe of another user.
- `close` removes the pipe, so that no process waits in `open` or on a full pipe while logferry idles.

Design: the supervisor holds the pipe open for reading and writing. Events therefore survive a restart of the shipper,
which inherits the descriptor, and a writer never finds a pipe without a reader. The descriptor is non-blocking.

References: pipe(7), fifo(7).
"""

import posix
import time

from logferry import values
from logferry.ipc import EventSources

PIPE_FILE = b"/events"
"""Name of the pipe in the spool."""
URL_FILE = b"/events-url"
"""Name of the file in the spool that holds the URL of the endpoint, if it is not on the configured port."""
OPEN_FLAGS = posix.O_RDWR | posix.O_NONBLOCK | posix.O_CLOEXEC | posix.O_NOFOLLOW
URL_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
FILE_TYPE, FIFO = 0o170000, 0o010000
"""Mask and value of the file type in `st_mode` (inode(7)). `import stat` would be one more import."""
ENOENT, EEXIST, ELOOP = 2, 17, 40
"""Numbers of errors on Linux. `import errno` would be one more import."""


def is_wanted(environ: dict[bytes, bytes]) -> bool:
    """Return whether a setting needs the pipe. An invalid value counts as not set; the shipper reports it."""
    calls = environ.get(b"LOGFERRY_CALLS", b"").strip().lower()
    return calls in (b"summary", b"each") or values.setting(environ, b"EVENTS", values.parse_truth, default=False)


class EventPipe:
    """The pipe, and the file with the URL of the endpoint."""

    __slots__ = ("_directory", "sources")

    def __init__(self, spool_dir: str) -> None:
        """Make and open the pipe. A failure is a text in `sources`, and no exception is raised."""
        self._directory = spool_dir.encode("utf-8", "surrogateescape")
        fd, problem = -1, ""
        try:
            fd = self._open()
        except OSError as error:
            problem = self._reason(error)
        self.sources = EventSources(pipe_fd=fd, problem=problem, since_ms=int(time.time() * 1000))

    def write_url(self, port: int, *, is_configured: bool) -> None:
        """Store the URL of the endpoint if its port is not the configured one, else remove an older URL."""
        path = self._directory + URL_FILE
        if is_configured:
            _remove(path)
            return
        try:
            fd = posix.open(path, URL_FLAGS, 0o600)
            try:
                posix.write(fd, b"http://127.0.0.1:%d/events\n" % port)
            finally:
                posix.close(fd)
        except OSError:
            return  # a client without the file uses the configured port, and its posts fail

    def close(self) -> None:
        """Remove and close the pipe, and remove the URL."""
        self.write_url(0, is_configured=True)
        if self.sources.pipe_fd >= 0:
            _remove(self._directory + PIPE_FILE)
            posix.close(self.sources.pipe_fd)
            self.sources.pipe_fd = -1

    def _open(self) -> int:
        path = self._directory + PIPE_FILE
        for make, name, mode in ((posix.mkdir, self._directory, 0o700), (posix.mkfifo, path, 0o600)):
            try:
                make(name, mode)
            except OSError as error:
                if error.errno != EEXIST:
                    raise
        fd = posix.open(path, OPEN_FLAGS)
        found = posix.fstat(fd)
        if found.st_mode & FILE_TYPE != FIFO or found.st_uid != posix.geteuid():
            posix.close(fd)
            raise OSError(EEXIST, "a file that is not a pipe of this user is there")
        posix.chmod(fd, 0o600)
        return fd

    def _reason(self, error: OSError) -> str:
        text = "a symbolic link is there" if error.errno == ELOOP else str(error.strerror)
        path = (self._directory + PIPE_FILE).decode("utf-8", "replace")
        return path + ": " + text + "; remove it, or select another directory with LOGFERRY_SPOOL_DIR"


def _remove(path: bytes) -> None:
    """Remove a file, if it is there and may be removed."""
    try:
        posix.unlink(path)
    except OSError:
        return
