"""Key of an object: it depends on the segment alone, and describes the invocation in the segment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.records.encoder import encode
from logferry.records.model import Header, Origin
from logferry.records.object_key import DEFAULT_KEY, KEY_FIELDS, render_key

A, B = "459921b5-681c-4a96-beb0-81e0aa586026", "79b4f56e-95b1-4643-9700-2807f4e68189"
TIME = "2026-11-21T02:26:24.357Z"
ORIGIN = Origin("0a1b2c", function="orders", version="$LATEST", region="eu-west-1", concurrent=False)
HEADER = Header(origin=ORIGIN, number=7, opened_ms=1_795_227_984_357, request_id=None)
REQUEST_KEY = "{date}T{hour}/{time}/{request_id}/{environment}-{segment}"


def key_of(*events: dict[str, Any], key: str = REQUEST_KEY, header: Header = HEADER, types: str = "") -> str:
    """Return the key of a segment with these events."""
    kept = frozenset(types.split() or ["platform", "function"])
    body = json.dumps(events, separators=(",", ":")).encode()
    return encode(header, [body], final=False, key=key, compress=False, types=kept).key


def event(kind: str, time: str, request_id: str = "", **record: Any) -> dict[str, Any]:
    """Return an event of the platform."""
    return {"time": time, "type": kind, "record": record | ({"requestId": request_id} if request_id else {})}


def line(time: str, text: Any = "x") -> dict[str, Any]:
    """Return a line of the function."""
    return {"time": time, "type": "function", "record": text}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT_KEY, "function=orders/dt=2026-11-21/hour=23/235959Z-0a1b2c-00000007.ndjson.gz"),
        ("{region}/{version}/{environment}/{segment}", "eu-west-1/$LATEST/0a1b2c/00000007"),
        ("{year}/{month}/{day}/{hour}/{environment}-{segment}", "2026/11/21/23/0a1b2c-00000007"),
        ("{request_id}/{environment}-{segment}", f"{A}/0a1b2c-00000007"),
        ("{{literal}}/{environment}-{segment}", "{literal}/0a1b2c-00000007"),
    ],
)
def test_key_is_rendered_from_the_segment(template: str, expected: str) -> None:
    """The clock has no influence."""
    start = event("platform.start", "2026-11-21T23:59:59.999Z", A)
    assert key_of({"record": "no time"}, start, line("2026-11-22T00:00:00Z"), key=template) == expected


def test_key_without_any_time_has_the_time_of_the_segment() -> None:
    """An unparsable batch still has a date."""
    assert key_of({"record": 1}) == "2026-11-21T02/022624Z/none/0a1b2c-00000007"


def test_every_known_field_is_rendered() -> None:
    """The template renders every field that the settings accept."""
    template = "/".join(f"{{{name}}}" for name in sorted(KEY_FIELDS))
    assert "{" not in render_key(template, HEADER, TIME, A)


def test_segments_have_different_keys() -> None:
    """This holds for segments of one environment and of two."""
    headers = [HEADER._replace(number=n, origin=ORIGIN._replace(environment=e)) for n in (1, 2, 11) for e in ("a", "b")]
    assert len({key_of(header=header) for header in headers}) == len(headers)


def test_keys_of_an_environment_sort_by_time() -> None:
    """`aws s3 ls` is then chronological, and a reader lists from a time on."""
    keys = [key_of(line(f"2026-11-21T{h:02d}:{m:02d}:00.000Z"), key=DEFAULT_KEY) for h in (1, 2) for m in (5, 50)]
    assert keys == sorted(keys)


OLD, NEW = "2026-11-20T01:00:00.000Z", "2026-11-21T09:08:07.000Z"
NEW_KEY = f"2026-11-21T09/090807Z/{B}/0a1b2c-00000007"


@pytest.mark.parametrize(
    "earlier",
    [
        [event("platform.report", OLD, A)],
        [event("platform.runtimeDone", OLD, A), event("platform.report", OLD, A)],
        [event("platform.initStart", OLD), line(OLD, "init"), event("platform.initReport", OLD)],
        [event("platform.initStart", OLD), event("platform.restoreStart", OLD), event("platform.restoreReport", OLD)],
        [event("platform.logsDropped", OLD, droppedRecords=1), event("platform.extension", OLD)],
        [{"time": OLD, "type": "extension", "record": "x"}],
    ],
    ids=["report", "late end", "provisioned concurrency", "SnapStart", "environment", "extension"],
)
@pytest.mark.parametrize("types", ["platform function", "function"])
def test_key_belongs_to_the_invocation_that_ran(earlier: list[dict[str, Any]], types: str) -> None:
    """The records before it may be hours or weeks old; they do not decide where the object is stored."""
    assert key_of(*earlier, event("platform.start", NEW, B), line(NEW), types=types) == NEW_KEY


def test_key_belongs_to_the_request_of_the_header_if_its_lines_come_first() -> None:
    """A long invocation is uploaded in several objects."""
    header = HEADER._replace(request_id=B, started=(B,))
    assert key_of(line(NEW), event("platform.runtimeDone", NEW, B), header=header) == NEW_KEY


def test_key_of_a_segment_with_a_report_only_belongs_to_that_request() -> None:
    """At SHUTDOWN the last report arrives alone."""
    assert key_of(event("platform.report", NEW, B)) == NEW_KEY


def test_key_of_a_segment_of_an_init_phase_has_its_time() -> None:
    """An environment that never ran an invocation has objects as well."""
    found = key_of(event("platform.initStart", OLD), line(NEW, "init"))
    assert found == "2026-11-21T09/090807Z/none/0a1b2c-00000007"
