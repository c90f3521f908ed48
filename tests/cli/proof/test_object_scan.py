"""The scan makes the same rows as statement 1 and the complete check, and leaves every other object to that check."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logferry.cli.proof.object_layout import Layout, layout_of
from logferry.cli.proof.object_scan import ENCODER_HEADER, MAX_BODY_BYTES, ObjectScan, scan_body
from logferry.cli.sql import statement
from logferry.cli.stored_objects import ReadObject, decode
from logferry.cli.verify.completeness import rows_of
from logferry.cli.verify.object_check import check_object
from logferry.records import zstd_packing
from logferry.records.encoder import GZIP_LEVEL, encode
from logferry.records.internal import dropped_batch
from logferry.records.object_key import DEFAULT_KEY
from records.test_fast_path import near_plain
from support.batch_strategies import ANYTHING, deliveries
from support.processed import ALL, HEADER, TIME, A, batch, encoded, event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE = ',"environment":"0a1b2c","segment":7,"line":'
TRICKY = [
    event({"requestId": A, "version": "7"}, kind="platform.start"),
    f'a text with "line":7}}\n{{"time":"{PLACE}3}}',
    f'{PLACE}2}}\n{{"time":"',
    {"line": 7, "segment": 9, "environment": "other", "type": "logferry.final"},
    'ends with a quote"',
    "ends with a backslash\\",
    'ends with both\\"',
    "é\u2028\x00\x1f 🦀",
    "",
]
"""Records with texts in which the end of a line occurs, or that end like an escape."""
LINES = encoded([batch(*TRICKY)], {}, final=True).body


def stored(body: bytes) -> bytes:
    """Return lines as the encoder stores them."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
    return packer.compress(body) + packer.flush()


def complete_row(body: bytes) -> Layout:
    """Return the row of the complete check in the form of the scan."""
    found = decode("e.ndjson", {}, body)
    assert isinstance(found, ReadObject)
    checked = check_object(found)
    assert not checked.unreadable
    (row,) = rows_of([checked])
    assert row.lines == row.distinct_lines == row.highest_line == row.closing_line
    counts = checked.processed
    return Layout(
        *(row.environment, row.segment, row.lines, row.final, row.first_time or "", row.last_time or ""),
        *(counts.filtered, counts.masked, counts.failed),
    )


def row_of_statement_1(body: bytes, folder: Path) -> Layout:
    """Return the row of statement 1 in DuckDB in the form of the scan."""
    (folder / "lines.ndjson").write_bytes(body)
    texts = "time: 'VARCHAR', type: 'VARCHAR', record: 'VARCHAR', environment: 'VARCHAR'"
    columns = f"{{{texts}, segment: 'BIGINT', line: 'BIGINT'}}"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW logs AS SELECT * FROM read_json('{folder}/lines.ndjson', columns={columns}, "  # noqa: S608 - a test
            "format='newline_delimited')"
        )
        ((environment, segment, loss, lines, distinct, highest, closing, final, first, last),) = connection.execute(
            statement("segments")
        ).fetchall()
    assert loss is None
    assert lines == distinct == highest == closing
    return Layout(environment, segment, lines, final, first, last)


def test_rows_are_those_of_statement_1_and_of_the_complete_check(tmp_path: Path) -> None:
    """Texts in which the end of a line occurs are escaped, so they fool none of the three."""
    expected = Layout("0a1b2c", 7, len(TRICKY) + 1, 1, TIME, TIME)
    assert scan_body("e.ndjson.gz", stored(LINES)) == expected
    assert scan_body("e.ndjson.gz", gzip.compress(LINES)) == expected
    assert scan_body("e.ndjson", LINES) == expected
    assert row_of_statement_1(LINES, tmp_path) == expected
    assert complete_row(LINES) == expected


def test_the_encoder_writes_the_header_that_the_scan_trusts() -> None:
    """Other programs write another header, and `gzip.compress` writes the time."""
    made = encode(HEADER, [batch("x")], final=False, key=DEFAULT_KEY, compress=True, types=ALL)
    assert made.body.startswith(ENCODER_HEADER)
    assert not gzip.compress(LINES).startswith(ENCODER_HEADER)
    assert not gzip.compress(LINES, 1).startswith(ENCODER_HEADER)


def test_zstandard_is_read_and_parsed() -> None:
    """A frame has no checksum by default, so that its lines are compared with the grammar."""
    body = zstd_packing.packing().make()
    assert scan_body("e.ndjson.zst", body.compress(LINES) + body.flush()) == complete_row(LINES)
    broken = zstd_packing.packing().make()
    assert (
        scan_body("e.ndjson.zst", broken.compress(LINES.replace(b'"message"', b'"message', 1)) + broken.flush()) is None
    )


@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        ({"EXCLUDE": "drop", "MASK": "email"}, (2, 1, 0)),
        ({"EXCLUDE": "drop", "FIELDS": "team=filtered,x=1", "LINE_FIELDS": "fields"}, (2, 0, 0)),
        ({"MASK": "email", "LINE_FIELDS": "level"}, (0, 1, 0)),
    ],
    ids=str,
)
def test_counts_of_the_closing_line_are_in_the_row(rules: dict[str, str], counts: tuple[int, int, int]) -> None:
    """An object with filtered and masked records needs no complete check, and neither do further columns."""
    texts = ["drop", "drop", "a@b.io", 'INFO \\"filtered\\":9,', '{"filtered":9}']
    body = encoded([batch(*texts)], rules, final=True).body
    row = scan_body("e.ndjson.gz", stored(body))
    assert row is not None
    assert row[-3:] == counts
    assert row == complete_row(body) == scan_body("e.ndjson", body)


def test_an_object_without_records_is_intact() -> None:
    """It has only its closing line."""
    body = encoded([batch(event({}, kind="extension"))], {}, types=frozenset()).body
    assert body.count(b"\n") == 1
    assert scan_body("e.ndjson.gz", stored(body)) == complete_row(body)


def changed_line(number: int, old: bytes, new: bytes) -> bytes:
    """Return the lines with a replacement in one of them."""
    lines = LINES.splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    return b"".join(lines)


def moved(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Return the lines in another order or number."""
    return b"".join(change(LINES.splitlines(keepends=True)))


STRUCTURE = {
    "a line is missing": moved(lambda lines: lines[:2] + lines[3:]),
    "a line is there twice": moved(lambda lines: lines[:3] + lines[2:]),
    "two lines are exchanged": moved(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "the closing line is missing": moved(lambda lines: lines[:-1]),
    "a line follows the closing line": moved(lambda lines: [*lines, lines[0]]),
    "the closing line is there twice": moved(lambda lines: [*lines, lines[-1]]),
    "the first line is cut at its beginning": LINES[5:],
    "the last line is cut": LINES[:-1],
    "a line is cut and joined with the next": moved(lambda lines: [lines[0], lines[1][:60] + lines[2], *lines[3:]]),
    "a line is cut at its end": changed_line(4, b',"line":4}', b""),
    "two lines are joined": changed_line(3, b"}\n", b"}"),
    "a line is of another segment": changed_line(3, b'"segment":7', b'"segment":8'),
    "a line is of another environment": changed_line(3, b'"0a1b2c"', b'"0a1b2d"'),
    "a number has a zero in front": changed_line(3, b'"line":3', b'"line":03'),
    "a number is not the last member": changed_line(3, b'"line":3', b'"line":3,"x":1'),
    "spaces before the place": changed_line(3, b',"environment"', b', "environment"'),
    "spaces at the beginning": changed_line(3, b'{"time"', b'{ "time"'),
    "line ends of Windows": LINES.replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + LINES,
    "more records than lines": LINES.replace(b'\\"records\\":9', b'\\"records\\":8'),
    "a count twice": LINES.replace(b'\\"function\\":', b'\\"masked\\":1,\\"masked\\":2,\\"function\\":'),
    "nothing": b"",
    "one newline": b"\n",
    "text": b"hello\n",
}
TEXT = {
    "an empty line": changed_line(3, b"{", b"\n{"),
    "a quote is missing": changed_line(2, b'"message":"', b'"message":'),
    "a quote is not escaped": changed_line(2, b"a text", b'a "text'),
    "a value is not JSON": changed_line(2, b'"type":"function"', b'"type":function'),
    "the end of a text is missing": changed_line(2, b'","requestId"', b""),
    "bytes are missing": changed_line(2, b'"type":"function","mess', b""),
    "an escape is invalid": changed_line(2, b"a text", b"a \\text\\x"),
    "an escape is short": changed_line(2, b"a text", b"\\u12"),
    "a control character": changed_line(2, b"a text", b"a\ttext"),
    "a newline in a text": changed_line(2, b"a text", b"a\ntext"),
    "bytes that are not UTF-8": changed_line(2, b"a text", b"a\xfftext"),
    "a member twice": changed_line(2, b'"type":"function"', b'"type":"function","line":3'),
    "a type twice": changed_line(2, b'"type":"function"', b'"type":"function","type":"logferry.dropped"'),
    "an escaped name": changed_line(2, b'"type":"function"', b'"typ\\u0065":"logferry.dropped"'),
    "an escaped type": changed_line(2, b'"type":"function"', b'"type":"logferry\\u002edropped"'),
    "a space between members": changed_line(2, b'"message":', b' "message":'),
    "a closing line before the last": changed_line(2, b'"type":"function"', b'"type":"logferry.segment"'),
    "a final line before the last": changed_line(2, b'"type":"function"', b'"type":"logferry.final"'),
    "the closing record is cut": LINES.replace(b'\\"}","environment"', b'","environment"'),
    "the closing record is not JSON": LINES.replace(b'\\"function\\":\\"', b'\\"function\\":\\'),
    "the closing record has another number": LINES.replace(b'\\"function\\":', b'\\"records\\":8,\\"function\\":'),
    "the closing record has an invalid number": LINES.replace(b'\\"function\\":', b'\\"masked\\":NaN,\\"function\\":'),
    "a loss": changed_line(2, b'"type":"function"', b'"type":"logferry.dropped"'),
    "a loss of the platform": changed_line(2, b'"type":"function"', b'"type":"platform.logsDropped"'),
}


@pytest.mark.parametrize("body", STRUCTURE.values(), ids=STRUCTURE.keys())
def test_an_object_with_another_structure_needs_the_complete_check(body: bytes) -> None:
    """Beginning, end and number of each line are compared, whichever program has compressed the object."""
    assert body != LINES
    for key, content in (("e.gz", stored(body)), ("e.gz", gzip.compress(body)), ("e.ndjson", body)):
        assert scan_body(key, content) is None


@pytest.mark.parametrize("body", TEXT.values(), ids=TEXT.keys())
def test_an_object_that_another_program_has_written_is_compared_with_the_grammar(body: bytes) -> None:
    """The middle of its lines can be damaged, or another reader can understand it differently."""
    assert body != LINES
    assert scan_body("e.gz", gzip.compress(body)) is None
    assert scan_body("e.ndjson", body) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[:-9],
        lambda body: body[:-8] + b"\0" + body[-7:],
        lambda body: body + b"\0",
        lambda body: body + stored(b"x"),
        lambda body: body[:60] + bytes([body[60] ^ 1]) + body[61:],
        lambda _: stored(bytes(MAX_BODY_BYTES + 1)),
        lambda _: b"",
    ],
    ids=["cut", "checksum", "more bytes", "a second stream", "a flipped bit", "zeros", "empty"],
)
def test_a_damaged_stream_needs_the_complete_check(change: Callable[[bytes], bytes]) -> None:
    """The checksum covers every byte of the lines."""
    assert scan_body("e.ndjson.gz", change(stored(LINES))) is None


@pytest.mark.parametrize(("key", "others"), [("0a1b2c-00000007", 0), ("0a1b2c-00000008", 1), ("0a1b2d-00000007", 1)])
def test_an_object_under_the_key_of_another_segment_needs_the_complete_check(key: str, others: int) -> None:
    """Its lines are intact, and its metadata name the segment that is missing."""
    scan = ObjectScan()
    scan.take(0, f"function=f/{key}.ndjson.gz", stored(LINES))
    assert (len(scan.rows), len(scan.others)) == (1 - others, others)


def test_an_object_that_reports_a_loss_needs_the_complete_check() -> None:
    """The loss is a separate row."""
    loss: dict[str, Any] = {"environment": "e", "segment": 1, "until": 2, "records": 3, "bytes": 4, "reason": "x"}
    platform = event({"reason": "x", "droppedRecords": 1, "droppedBytes": 2}, kind="platform.logsDropped")
    for bodies in ([dropped_batch([loss], at_ms=1_795_227_984_357)], [batch(platform)]):
        body = encoded(bodies, {}).body
        assert scan_body("e.gz", stored(body)) is None
        assert scan_body("e.ndjson", body) is None
    quoted = encoded([batch(json.dumps(loss), '{"type":"logferry.dropped","record":"x"}')], {}).body
    assert scan_body("e.gz", stored(quoted)) == complete_row(quoted), "a text of the function reports nothing"


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(near_plain() | ANYTHING | deliveries().map(lambda drawn: drawn[1]), min_size=1, max_size=3))
def test_each_object_of_the_encoder_has_the_row_of_the_complete_check(bodies: list[bytes]) -> None:
    """Whatever the platform delivers, a line is in the layout, also according to the grammar."""
    body = encoded(bodies, {}).body
    row = layout_of(body, parse=False)
    if row is None:
        assert b'"type":"logferry.dropped"' in body or b'"type":"platform.logsDropped"' in body
        return
    expected = complete_row(body)
    # Without metadata, the complete check takes the times of all lines, and the row has those of the closing line.
    assert row._replace(first_time="", last_time="") == expected._replace(first_time="", last_time="")
    # The grammar excludes escapes in a type, and the name of a loss that is not that of a line.
    unusual = re.search(rb'"type":"[^"]*\\|"logferry\.dropped"|"platform\.logsDropped"', body)
    assert layout_of(body, parse=True) == (None if unusual else row)
