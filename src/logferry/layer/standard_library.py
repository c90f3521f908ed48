"""CPython's standard library, without the parts that no server uses.

Only whole subjects go: an editor, a test suite, graphical and terminal libraries, installers, databases, compressions
that S3 does not speak. Small modules stay even where nothing seems to import them: aiohttp needs `netrc`, boto3
`multiprocessing`, and a module missed at a customer's is dearer than the bytes.
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
    ),
    *("lib2to3", "config-*", "site-packages", "dist-packages", "__phello__", "msilib"),
)
_MODULES = (
    "turtle.py",
    "pydoc.py",
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
"""Files of lib-dynload. `_codecs_*` are the Far East's legacy encodings: JSON is UTF-8. `_bz2`, `_lzma` and `_uuid` are
optional in CPython, and whoever imports them does without; here shutil and uuid did, for 0.3 MB of the shipper."""

_REQUIRED = ("os.py", "encodings", "asyncio", "ssl.py", "lib-dynload")


def copy(source: Path, target: Path) -> None:
    """Copy a standard library to its place in the tree; ValueError when the source is not one."""
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
