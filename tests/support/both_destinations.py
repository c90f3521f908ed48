"""Objects of a first destination and of a fallback destination."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from logferry.records.encoder import encode
from logferry.records.model import Header, Origin, StoredObject
from logferry.records.object_key import default_key
from logferry.records.processing import Processing
from logferry.records.zstd_packing import packing
from support.stored_logs import START, TYPES, invocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from support.end_to_end import Arrived

ENVIRONMENT = f"{7:016x}"


def stored(
    segment: int,
    *lines: str,
    final: bool = False,
    fallback: bool = False,
    form: str = "ndjson",
    compression: str = "gzip",
) -> StoredObject:
    """Return the object of a segment; the fallback destination has its objects with the mark."""
    origin = Origin(ENVIRONMENT, "orders-api", "$LATEST", "eu-central-1", concurrent=False)
    header = Header(origin, segment, int(START.timestamp() * 1000), None)
    body = json.dumps(invocation(segment, START, lines or (f"line of {segment}",)), separators=(",", ":")).encode()
    further: dict[str, Any] = {} if form == "ndjson" else {"make_lines": Processing(format=form).make_lines}
    return encode(
        header,
        [body],
        final=final,
        key=default_key(form=form, compression=compression),
        compress=compression == "gzip",
        types=TYPES,
        packing=packing() if compression == "zstd" else None,
        fallback=fallback,
        **further,
    )


def store(root: Path, objects: Iterable[StoredObject]) -> str:
    """Store objects as the directory sink does; return the URL of the directory."""
    for each in objects:
        path = root / each.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.body)
        path.with_name(path.name + ".meta.json").write_text(json.dumps(each.metadata))
    return f"file://{root}"


def together(first: Sequence[Arrived], second: Sequence[Arrived]) -> tuple[list[Arrived], int]:
    """Return each segment once, and the number of copies. Assert that copies have the same records and the same key."""
    assert not any("fallback" in one.metadata for one in first)
    assert all(one.metadata["fallback"] == "true" for one in second)
    known = {_segment(one): one for one in first}
    copies = [one for one in second if _segment(one) in known]
    for copy in copies:
        assert copy.records == known[_segment(copy)].records
        assert copy.key == known[_segment(copy)].key
    return [*first, *(one for one in second if _segment(one) not in known)], len(copies)


def _segment(one: Arrived) -> tuple[str, int]:
    return one.metadata["environment"], int(one.metadata["segment"])
