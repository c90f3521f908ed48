"""Smoke test of a built tree: its interpreter starts with its libraries, and both S3 clients store objects.

Guarantees:
- A full tree passes only if each bucket of `OWN_CLIENT` and `SDK` receives an object, in this order.
- A slim tree passes only if the buckets of `OWN_CLIENT` have an object, and if a configuration that
  needs the SDK is rejected with its reason and the remedy.
- The program runs through the loader of the tree, because the tree is not at `/opt` on the machine
  that builds it.

Design: an import or a created client is not sufficient. botocore reads some of its data at the
first request, and some only after certain responses of S3. The SDK is a fallback that few functions
use, so this test is the only place where each build uses it.
"""

from pathlib import Path

from logferry.layer.architecture import Architecture
from logferry.layer.checks import CheckError
from logferry.layer.s3_stub import S3Stub, serving
from logferry.layer.subprocesses import LayerError, run

PROGRAM = Path(__file__).with_name("smoke_test_program.py")
"""Program of the test. It is not imported, because it runs at once and in another interpreter."""

OWN_CLIENT = ("own", "own-redirected")
"""Buckets in which logferry's own client stores an object."""
SDK = ("sdk", "sdk-moved", "session--euc1-az1--x-s3", "proxied")
"""Buckets in which the AWS SDK stores an object. Only the proxy reaches the host of the last one."""
ISOLATED = ("-I", "-S", "-B", "-X", "utf8")
"""Options of the interpreter, as the launcher sets them."""


def command(home: Path, *, python: str, arch: Architecture) -> list[str]:
    """Return the first words of a command that runs the interpreter of a tree at any place."""
    lib, executable = home / "lib", home / f"bin/python{python}"
    loader = [str(lib / arch.loader), "--inhibit-cache", "--library-path", str(lib), "--argv0", str(executable)]
    return [*loader, str(executable)]


def run_smoke_test(home: Path, *, python: str, arch: Architecture, slim: bool = False) -> None:
    """Store objects with the tree's interpreter. Raises CheckError with its traceback if that fails."""
    s3 = S3Stub()
    with serving(s3):
        program = [str(PROGRAM), str(home / "site"), s3.url, "slim" if slim else "full"]
        interpreter = command(home, python=python, arch=arch)
        try:
            run(
                [*interpreter, *ISOLATED, *program],
                purpose="storing objects with the tree's S3 clients",
                environment={},
            )
        except LayerError as error:
            raise CheckError(f"the tree does not work: {error}") from error
    expected = [*OWN_CLIENT, *(() if slim else SDK)]
    if s3.stored != expected:
        raise CheckError(f"the smoke test ended without an error, but stored in {s3.stored} and not in {expected}")
