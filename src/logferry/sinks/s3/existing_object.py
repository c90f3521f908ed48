"""The object that a conditional request (`If-None-Match: *`) has found at its key.

Guarantees:
- An object of the same segment counts as stored: it has the same environment, segment and records, and
  the same bytes. The bytes may differ if only one of both has the mark `final`.
- Any other object is a rejection with a remedy. It is not overwritten.
- If the object cannot be read (403), it counts as stored, and one warning reports it.

Design: S3 responds 412 to a repeated request after a lost response, because the first one has stored
the object. The metadata and the CRC32 identify it. An ETag does not, because it is no MD5 under KMS.
A role that has only s3:PutObject cannot read the metadata. The key contains the random name of the
environment and the number of the segment (`records.object_key` requires both), so no other writer
uses it. A rejection would keep the segment until the spool discards it, although it is stored.

References: S3 User Guide, "How to prevent object overwrites with conditional writes"; S3 API
Reference, "HeadObject".
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from logferry.records.model import StoredObject

CHECKSUM_MODE = {"x-amz-checksum-mode": "ENABLED"}
"""Header that requests the checksum of the object. With a KMS key it needs the permission to decrypt."""
OWNER_HEADERS = ("x-amz-expected-bucket-owner", "x-amz-request-payer")
"""Headers of the PutObject request that HeadObject needs too."""
_OK, _FORBIDDEN = 200, 403
_IDENTITY = ("environment", "segment", "format", "records", "first-time", "last-time")
"""Metadata that differs between the objects of two segments."""
_FOREIGN = (
    "412 PreconditionFailed: another object exists at the key, and LOGFERRY_S3_IF_NONE_MATCH is set; remove the "
    "object, or change the prefix of LOGFERRY_DESTINATION"
)
_UNREADABLE = (
    "an object existed at its key and cannot be read; it counts as stored, because only this segment has the key"
)


class ExistingObjects:
    """The comparison of objects, and the state of its warning."""

    def __init__(self) -> None:
        self._warned = False

    async def check(
        self, stored: StoredObject, head: Callable[[Mapping[str, str]], Awaitable[tuple[int, Mapping[str, str]]]]
    ) -> None:
        """Return if the object at the key is that of `stored`. Raise SinkRejected or SinkUnavailable otherwise.

        `head` sends HeadObject with further headers, and returns status and headers.
        """
        status, headers = await head(CHECKSUM_MODE)
        if status == _FORBIDDEN:
            status, headers = await head({})
        # 1. The object is described.
        if status == _OK:
            if not is_same(stored, headers):
                raise SinkRejected(_FOREIGN)
        # 2. The role must not read it.
        elif status == _FORBIDDEN:
            self._warn(stored.key)
        # 3. The object has been removed meanwhile, or S3 is not available.
        else:
            raise SinkUnavailable(f"412 PreconditionFailed, and HeadObject gave status {status}")

    def _warn(self, key: str) -> None:
        if not self._warned:
            self._warned = True
            get_logger().warning(_UNREADABLE, key=key, remedy="allow s3:GetObject, so that it is compared")


def is_same(stored: StoredObject, headers: Mapping[str, str]) -> bool:
    """Return whether the headers of an object describe `stored`."""
    there = {name: headers.get(f"x-amz-meta-{name}") for name in (*_IDENTITY, "final")}
    # 1. The object of another segment, or of another writer.
    if any(there[name] != stored.metadata.get(name) for name in _IDENTITY):
        return False
    # 2. The same records before or after the segment became the last one.
    if there["final"] != stored.metadata.get("final"):
        return True
    # 3. The same bytes. Some stores give no checksum.
    checksum = headers.get("x-amz-checksum-crc32")
    if checksum:
        return checksum == base64.b64encode(zlib.crc32(stored.body).to_bytes(4, "big")).decode()
    return headers.get("content-length") == str(len(stored.body))
