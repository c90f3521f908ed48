"""The clock that botocore signs requests with, corrected by S3's clock.

Design: botocore has no setting for an offset. Its signer reads the time through one function, which
is replaced here. Older versions have no such function, and then the clock is not corrected. The
offset belongs to the process, as its clock does.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import botocore.auth

from logferry.aws.timestamps import parse_http_date

_botocore_now: Any = getattr(botocore.auth, "get_current_datetime", None)
_offset = dt.timedelta(0)


def correct(date: str) -> bool:
    """Sign with the clock of S3 from now on, given its Date header; False if that is impossible."""
    global _offset  # noqa: PLW0603 - one clock per process
    s3_time = parse_http_date(date)
    if s3_time is None or _botocore_now is None:
        return False
    _offset = dt.timedelta(seconds=s3_time - dt.datetime.now(dt.UTC).timestamp())
    return True


def offset_seconds() -> float:
    """Return the time of S3 minus the time of this environment, in seconds, as far as it is known."""
    return _offset.total_seconds()


def _now(*arguments: Any, **options: Any) -> Any:
    return _botocore_now(*arguments, **options) + _offset


if _botocore_now is not None:
    botocore.auth.get_current_datetime = _now
