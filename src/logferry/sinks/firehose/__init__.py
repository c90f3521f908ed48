"""Amazon Data Firehose, through logferry's own client.

Guarantees:
- A configuration that the client does not cover is decided before anything is sent. Each `put` then reports the reason
  and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.aws.credentials import CredentialSource
from logferry.aws.service_endpoint import not_covered, resolve
from logferry.errors import SinkRejected
from logferry.sinks.firehose.data_records import MAX_LINES
from logferry.sinks.firehose.sink import SERVICE, FirehoseSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink


def open_sink(
    stream: str, region: str, environ: Mapping[str, str], timeout_seconds: float, *, max_lines: int | None = None
) -> Sink:
    """Return the sink for a stream. Without `region`, the region of the function counts.

    `max_lines` is the maximum number of lines in a record of Firehose; None for Firehose's own limit.
    """
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if reason := not_covered(SERVICE, region, environ):
        return _UnusableSink(f"put firehose://{stream}: {reason}")
    return FirehoseSink(
        stream=stream,
        region=region,
        address=resolve(SERVICE, region, environ),
        credentials=CredentialSource(environ),
        environ=environ,
        timeout_seconds=timeout_seconds,
        max_lines=max_lines or MAX_LINES,
    )


class _UnusableSink:
    """A sink that rejects each object, for a configuration that the client does not cover."""

    def __init__(self, message: str) -> None:
        self._message = message

    async def connect(self) -> None:
        """Do nothing."""

    async def put(self, _stored: StoredObject) -> None:
        """Raise SinkRejected with the reason and the remedy."""
        raise SinkRejected(self._message)
