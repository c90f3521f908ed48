"""The real command line of the extension, with something about its process changed before it begins.

For what a test cannot bring about from outside: a kernel that refuses to fork, a clock that jumps, random numbers that
were drawn before a snapshot. The patch is Python that runs first, in the same bare interpreter; the shipper is forked
from it and inherits it.
"""

from __future__ import annotations

from logferry.cli.run import argv


def boot_with(patch: str) -> list[str]:
    """A command line that runs `patch` and becomes the extension."""
    *interpreter, boot, folders = argv()
    program = f"import sys\n{patch}\nsys.argv = [{boot!r}, {folders!r}]\nexec(open({boot!r}).read())"
    return [*interpreter, "-c", program]


def without_libraries() -> list[str]:
    """The real command line with a path on which the extension is found, and none of its libraries."""
    *command, folders = argv()
    return [*command, folders.split(":")[0]]
