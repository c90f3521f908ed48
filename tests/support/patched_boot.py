"""The real command line of the extension, with a patch that is executed before the extension starts.

The patch produces conditions that a test cannot produce from outside: a kernel that refuses to
fork, a clock that jumps, random numbers that were drawn before a snapshot. It runs in the same bare
interpreter. The shipper is forked from that interpreter and inherits the patch.
"""

from __future__ import annotations

from logferry.cli.run import argv


def boot_with(patch: str) -> list[str]:
    """Return a command line that executes `patch` and then the extension; the patch may import logferry's modules."""
    *interpreter, boot, folders = argv()
    before = f"import sys\nsys.path += {folders.split(':')!r}\n"
    return [*interpreter, "-c", f"{before}{patch}\nsys.argv = {[boot, folders]!r}\nexec(open({boot!r}).read())"]


def without_libraries() -> list[str]:
    """Return the real command line with a path that contains the extension but none of its libraries."""
    *command, folders = argv()
    return [*command, folders.split(":")[0]]
