"""Modules that the libraries import and nobody here uses: empty ones stand in for them.

Why: a tenth of the modules of a warm shipper serve help texts, boto3's resources and file transfers, files over HTTP
(with the machine's table of MIME types), and a renderer for terminals. Loading them was 11 % of the CPU until an S3
client was made, and 3 MB, which the function pays.

A stand-in has every name that it is asked for: a class of that name, which takes any arguments and does nothing. So the
importers' own definitions work, and what would really use one fails at once, for it has no methods.

tests/test_loading.py holds that each of them is still asked for; every test of the real extension, with a real S3
server behind it, runs with them.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = (
    "aioboto3.resources",
    "aioboto3.s3",
    "boto3.resources",
    "botocore.docs.docstring",
    "botocore.docs.service",
    "structlog.dev",
)
"""Each with what is below it. Not `botocore.docs`: the handlers of a session take methods of its `utils`."""


@contextmanager
def standing_in() -> Iterator[None]:
    """Inside, stand-ins are imported in place of these modules."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds and loads the stand-ins (`importlib.abc.MetaPathFinder`, `importlib.abc.Loader`)."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name.startswith(ABSENT) and any(name == one or name.startswith(one + ".") for one in ABSENT):
            return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # a loader by its methods
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, _module: ModuleType) -> None:
        """There is nothing in it."""


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (_Nothing,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Nothing:
    def __init__(self, *_given: object, **_named: object) -> None:
        """Take whatever the real one would."""
