"""One put of the canary through a sink of the extension, with a limit of time, and the parts of its error.

Guarantees:
- A put ends within the timeout of an upload, the limit of a connection, and `EXTRA_SECONDS`.
- The sink is closed, whatever the result.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

from logferry.errors import SinkError, SinkUnavailable
from logferry.http_client.client import CONNECT_SECONDS

if TYPE_CHECKING:
    from logferry.records.model import StoredObject
    from logferry.sinks.base import Sink

NAME = "put"
EXTRA_SECONDS = 5.0
"""Time for the import of the SDK and for corrections within one put, in seconds."""
_AGAIN = "repeat the check; the extension repeats the upload too"


async def put_bounded(sink: Sink, stored: StoredObject, *, timeout_seconds: float) -> SinkError | None:
    """Store the object. Return the error of the sink, or None. Raise RecordsRejected."""
    limit = timeout_seconds + CONNECT_SECONDS + EXTRA_SECONDS
    try:
        async with asyncio.timeout(limit):
            await sink.put(stored)
    except SinkError as error:
        return error
    except TimeoutError:
        return SinkUnavailable(f"put {stored.key}: not stored within {limit:g} s")
    finally:
        closing = getattr(sink, "close", lambda: None)()
        if inspect.isawaitable(closing):
            await closing
    return None


def text_and_remedy(error: SinkError) -> tuple[str, str]:
    """Return the message of a sink without the name of the object, and its remedy."""
    text = str(error).partition(": ")[2] or str(error)
    if error.status:
        event = f"{error.status} {error.code}".rstrip() + (f": {error.sentence}" if error.sentence else "")
        _, found, remedy = text.partition(event)
        return event, (remedy.removeprefix("; ") if found else "") or _AGAIN
    event, _, remedy = text.rpartition("; ")
    return (event, remedy) if event else (text, _AGAIN)
