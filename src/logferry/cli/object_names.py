"""Names of objects under a destination: which ones logferry cannot have written. Pure.

Design: the S3 console creates a zero-byte object for a folder, Hadoop writes `name_$folder$`, and
Spark writes `_SUCCESS` and `_temporary/`. Query engines skip names that begin with `_` or `.`, so
the settings reject them for logferry's own objects (`settings_validation`).
"""

from __future__ import annotations

import re

_FOLDER_SUFFIXES = ("/", "_$folder$")
_HIDDEN = ("_", ".")
_LOGFERRY_NAME = re.compile(r"([0-9a-f]{16}(?:r\d+)?)\D(\d{8,})", re.ASCII)
"""Environment and segment as in the default key."""
_ENVIRONMENT = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{16}(?:r\d+)?(?![0-9A-Za-z])", re.ASCII)
_SEGMENT = re.compile(r"(?<![0-9A-Za-z])\d{8,}(?![0-9A-Za-z])", re.ASCII)


def is_marker(name: str) -> bool:
    """Return whether a name, relative to the prefix, is that of a marker or of a hidden file."""
    return not name or name.startswith(_HIDDEN) or name.endswith(_FOLDER_SUFFIXES) or "/_" in name or "/." in name


def is_hidden(name: str) -> bool:
    """Return whether the name of a folder makes all files in it hidden."""
    return name.startswith(_HIDDEN)


def looks_like_logferry(key: str) -> bool:
    """Return whether a key contains an environment and a segment, in any order (`LOGFERRY_KEY`)."""
    if _LOGFERRY_NAME.search(key):
        return True
    rest, environments = _ENVIRONMENT.subn(" ", key, count=1)
    return environments > 0 and _SEGMENT.search(rest) is not None


def segment_in(key: str) -> tuple[str, int] | None:
    """Return environment and segment of a key in the form of the default key, or None."""
    match = _LOGFERRY_NAME.search(key)
    return (match[1], int(match[2])) if match else None
