"""The real command line of the extension, with a patch that is executed before the extension starts.

The patch produces conditions that a test cannot produce from outside: a kernel that refuses to
fork, a clock that jumps, random numbers that were drawn before a snapshot. It runs in the same bare
interpreter. The shipper is forked from that interpreter and inherits the patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.run import argv

if TYPE_CHECKING:
    from pathlib import Path


def boot_with(patch: str) -> list[str]:
    """Return a command line that executes `patch` and then the extension; the patch may import logferry's modules."""
    *interpreter, boot, folders = argv()
    before = f"import sys\nsys.path += {folders.split(':')!r}\n"
    return [*interpreter, "-c", f"{before}{patch}\nsys.argv = {[boot, folders]!r}\nexec(open({boot!r}).read())"]


def clock_from(path: Path) -> str:
    """Return a patch that adds the number of seconds in a file, or 0 without the file, to the wall clock.

    It replaces `datetime.datetime` too, because botocore takes the date of a signature from it.
    """
    return f"""
import datetime, time
real, real_ns = time.time, time.time_ns
def offset():
    try:
        return float(open({str(path)!r}).read() or 0)
    except OSError:
        return 0.0
time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + int(offset() * 1e9)
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return cls.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Shifted
"""


def without_libraries() -> list[str]:
    """Return the real command line with a path that contains the extension but none of its libraries."""
    *command, folders = argv()
    return [*command, folders.split(":")[0]]
