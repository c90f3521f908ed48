"""Messages with which runtimes report that memory is exhausted. Pure.

Guarantees:
- A message counts only for the request whose line it is: the line states the request, or it lies between the start of
  the request and the start of the next one.
- Batches are parsed only if they have such a message or a platform event, and only from the start of the request on.

Design: the search runs after an invocation has failed, never before. A platform delivers the last lines of a runtime
up to one buffer interval after `platform.runtimeDone`, so lines behind the end of the request belong to it too.

References: V8 (`FatalProcessOutOfMemory`), JDK (`OutOfMemoryError`), Go (`runtime.throw`), MRI (`NoMemoryError`),
.NET (`OutOfMemoryException`), CPython (`MemoryError`), Rust (`handle_alloc_error`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from logferry.records import attribution, batch_facts, decoder, fast_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHOWN_CHARACTERS = 200
"""Longest message in a record, in characters."""
_HINT = b"emory"
"""Part of each message. A search for one short text reads a segment at the speed of memchr."""
_MESSAGES = re.compile(
    r"^FATAL ERROR: .*(?:heap out of memory|process out of memory).*"
    r"|^.*Fatal (?:process|JavaScript) out of memory.*"
    r"|^.*ERR_WORKER_OUT_OF_MEMORY.*"
    r"|^.*java\.lang\.OutOfMemoryError.*"
    r"|^There is insufficient memory for the Java Runtime Environment.*"
    r"|^fatal error: (?:runtime: )?(?:out of memory|cannot allocate memory).*"
    r"|^.*\bNoMemoryError\b.*"
    r"|^\[FATAL\] failed to allocate memory.*"
    r"|^.*System\.OutOfMemoryException.*"
    r"|^Out of memory\.$"
    r"|^(?:\[ERROR\] )?(?:\w+\.)*_?(?:Array)?MemoryError(?:[:\s].*)?$"
    r'|^.*"errorType": ?"(?:\w+\.)*_?(?:Array)?MemoryError".*'
    r"|^memory allocation of \d+ bytes failed.*",
    re.MULTILINE,
)
_TYPES = re.compile(r"(?:.*[.<])?(?:OutOfMemory(?:Error|Exception)?|NoMemoryError|_?(?:Array)?MemoryError)>?")


def is_memory_error(error_type: str) -> bool:
    """Return whether an `errorType` of the platform names exhausted memory, such as `Runtime.OutOfMemory`."""
    return _TYPES.fullmatch(error_type) is not None


def message_in(text: str) -> str | None:
    """Return the message of exhausted memory in a text, shortened, or None."""
    found = _MESSAGES.search(text)
    return found[0].strip()[:SHOWN_CHARACTERS] if found else None


def find(bodies: Iterable[bytes], request_id: str, *, latest: str | None) -> str | None:
    """Return the first message in the lines of a request, or None.

    `latest` is the request that started last before the first body.
    """
    wanted = request_id.encode()
    reader, has_started = decoder.Reader(), latest == request_id
    for body in bodies:
        has_started = has_started or wanted in body
        if not has_started or not (_HINT in body or batch_facts.mentions_platform(body)):
            continue
        for kind, text, started in _texts(reader.read(body)):
            if kind == decoder.START:
                latest = started
            elif (latest == request_id or request_id in text) and (message := message_in(text)):
                return message
    return None


def _texts(found: Iterable[decoder.Event | fast_path.RecordRun]) -> Iterator[tuple[str, str, str | None]]:
    """Yield type, text and started request of the lines and of the starts of invocations."""
    for each in found:
        if not isinstance(each, decoder.Event):
            for plain in each:
                if "emory" in plain:
                    yield decoder.FUNCTION, str(json.loads(f'"{plain[fast_path.TEXT]}"')), None
        elif each.type == decoder.START:
            yield each.type, "", attribution.platform_request(each)
        elif each.type == decoder.FUNCTION:
            record = each.fields.get("record")
            yield each.type, record if isinstance(record, str) else each.value or "", None
