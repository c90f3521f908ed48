"""CPython's standard library, without the parts that no server uses.

Design: only complete subjects are removed: an editor, test suites, profilers, graphical and
terminal libraries, installers, databases, mail and XML-RPC, and compression formats that the format
of the objects does not use. Python equivalents of C modules are removed too. Small modules stay
even without a known importer. aiohttp needs `netrc` and boto3 needs `multiprocessing`; a missing
module costs more than its bytes.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

_PACKAGES = (
    *(
        "test",
        "idlelib",
        "tkinter",
        "turtledemo",
        "ensurepip",
        "pydoc_data",
        "venv",
        "_pyrepl",
        "curses",
        "dbm",
        "sqlite3",
        "unittest",
        "wsgiref",
        "xmlrpc",
    ),
    *("lib2to3", "config-*", "site-packages", "dist-packages", "__phello__", "msilib"),
)
_MODULES = (
    "turtle.py",
    "pydoc.py",
    *("profile.py", "cProfile.py", "pstats.py", "trace.py", "modulefinder.py", "pickletools.py"),
    *("mailbox.py", "imaplib.py", "poplib.py", "smtplib.py", "nntplib.py"),
    *("_pydecimal.py", "_pyio.py", "_pydatetime.py"),
    "doctest.py",
    "pdb.py",
    "bdb.py",
    "bz2.py",
    "lzma.py",
    "sitecustomize.py",
    "LICENSE.txt",
    "EXTERNALLY-MANAGED",
)
_EXTENSIONS = (
    *("_test*", "_xx*", "xx*", "_ctypes_test*", "_tkinter*", "_curses*", "readline*", "_sqlite3*", "_dbm*", "_gdbm*"),
    *("_codecs_*", "nis*", "ossaudiodev*", "audioop*", "_crypt*", "_bz2*", "_lzma*", "_uuid*"),
)
"""Files of lib-dynload. `_codecs_*` are legacy encodings of East Asia; JSON is UTF-8. `_bz2`,
`_lzma` and `_uuid` are optional in CPython, and their importers work without them. shutil and
uuid imported them, for 0.3 MB of the shipper."""

_REQUIRED = ("os.py", "encodings", "asyncio", "ssl.py", "lib-dynload")


def copy(source: Path, target: Path) -> None:
    """Copy a standard library to its place in the tree. Raises ValueError if the source is not a standard library."""
    absent = [name for name in _REQUIRED if not (source / name).exists()]
    if absent:
        raise ValueError(f"{source} is no standard library of CPython: it lacks {', '.join(absent)}")
    shutil.copytree(source, target, ignore=_ignored(source), ignore_dangling_symlinks=True)


def _ignored(root: Path) -> Callable[[str, list[str]], set[str]]:
    at_top = shutil.ignore_patterns(*_PACKAGES, *_MODULES, "__pycache__")
    in_dynload = shutil.ignore_patterns(*_EXTENSIONS)
    elsewhere = shutil.ignore_patterns("__pycache__", "test", "tests", "idle_test")

    def ignore(folder: str, names: list[str]) -> set[str]:
        if Path(folder) == root:
            return at_top(folder, names)
        if Path(folder) == root / "lib-dynload":
            return in_dynload(folder, names)
        return elsewhere(folder, names)

    return ignore
