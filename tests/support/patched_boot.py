"""The real command line of the extension, with something about its process changed before it begins.

For what a test cannot bring about from outside: a kernel that refuses to fork, a clock that jumps, random numbers that
were drawn before a snapshot. The patch is Python that runs first, in the same bare interpreter; the shipper is forked
from it and inherits it.
"""

from __future__ import annotations

from logferry.cli.run import argv


def boot_with(patch: str) -> list[str]:
    """A command line that runs `patch`, which may import what the extension may, and becomes the extension."""
    *interpreter, boot, folders = argv()
    before = f"import sys\nsys.path += {folders.split(':')!r}\n"
    return [*interpreter, "-c", f"{before}{patch}\nsys.argv = {[boot, folders]!r}\nexec(open({boot!r}).read())"]


def without_libraries() -> list[str]:
    """The real command line with a path on which the extension is found, and none of its libraries."""
    *command, folders = argv()
    return [*command, folders.split(":")[0]]
