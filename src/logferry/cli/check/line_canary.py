"""The canary for destinations that cannot delete: the object of an environment without records.

Guarantees:
- The encoder of the extension makes it, so format, compression and headers are those of the settings.
- It has the closing line only, which is valid in each format and has no record. Readers find an environment that is
  complete and has stored nothing.

Design: a stream and a receiver pass on each line, and no request of their protocols is free of effects. The name of the
function is `logferry-check`, so that a query can leave the line out.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from logferry.records.model import Header, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.records.model import StoredObject
    from logferry.shipper.upload_target import UploadTarget

FUNCTION = "logferry-check"


def line_canary(target: UploadTarget, environ: Mapping[str, str]) -> StoredObject:
    """Return the canary as the encoder of the target makes it."""
    origin = Origin(
        environment=secrets.token_hex(8),
        function=FUNCTION,
        version="$LATEST",
        region=environ.get("AWS_REGION", "unknown"),
        concurrent=False,
    )
    return target.encode(Header(origin, 1, time.time_ns() // 1_000_000, None), [], True)
