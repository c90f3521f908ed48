"""What may lie in a bucket beside logferry's objects, or instead of them: `logferry verify` names it, and judges on."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.object_reader import MAX_LINE_BYTES, MAX_METADATA_BYTES, MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = "9" * 5000
SECONDS = 60
DEEP = "[" * 100_000 + "]" * 100_000


def verify(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", "verify", f"file://{directory}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def line(record: str, *, kind: str = "function", seq: str = "00000002-000001") -> bytes:
    """Give a line of segment 2 whose record is this JSON text."""
    return f'{{"type":"{kind}","record":{record},"environment":"e1","seq":"{seq}"}}\n'.encode()


def lost(**fields: str) -> bytes:
    """Give the report of a loss, with some of its fields as this JSON text."""
    record = {"environment": '"e1"', "segment": "1", "until": "1", "records": "1", "bytes": "1"} | fields
    return line("{" + ",".join(f'"{name}":{value}' for name, value in record.items()) + "}", kind="logferry.dropped")


def put(root: Path, key: str, body: bytes, *, segment: str = "2", environment: str = "e1", **more: Any) -> None:
    """Store an object as the directory sink does."""
    metadata = {"environment": environment, "segment": segment, "records": "1", **more}
    (root / key).write_bytes(gzip.compress(body) if key.endswith(".gz") else body)
    (root / f"{key}.meta.json").write_text(json.dumps(metadata))


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "no-number-seq": (line("1", seq=f"{DIGITS}-000001"), "which is no place"),
    "deep": (line(DEEP), "RecursionError"),
    "nan": (line("NaN"), "NaN is not JSON"),
    "infinity": (line("[-Infinity]"), "-Infinity is not JSON"),
    "lost-infinity": (lost(records="1e999"), "inf counts nothing"),
    "lost-digits": (lost(bytes=DIGITS), "counts nothing"),
    "lost-negative": (lost(records="-1"), "-1 counts nothing"),
    "lost-half": (lost(segment="1.5"), "1.5 counts nothing"),
    "lost-true": (lost(until="true"), "True counts nothing"),
    "lost-backwards": (lost(segment="5"), "5 to 1 are no segments"),
    "lost-nothing": (lost(segment="0"), "0 to 1 are no segments"),
}


def test_an_object_that_no_reader_can_take_is_named_with_its_reason_and_the_others_are_judged(tmp_path: Path) -> None:
    """Numbers without end, nesting without end, files without end: a sentence each, never a traceback."""
    reasons = {}
    for name, (body, reason) in UNREADABLE.items():
        put(tmp_path, f"{name}.ndjson", body)
        reasons[f"{name}.ndjson"] = reason
    put(tmp_path, "bomb.ndjson.gz", bytes(MAX_LINE_BYTES + 1))
    reasons["bomb.ndjson.gz"] = "a line is longer than"
    put(tmp_path, "huge.ndjson", b"")
    os.truncate(tmp_path / "huge.ndjson", MAX_OBJECT_BYTES + 1)
    reasons["huge.ndjson"] = "at most 1073741824 are read"
    put(tmp_path, "meta-digits.ndjson", line("1"), segment=DIGITS)
    reasons["meta-digits.ndjson"] = "not a whole number from 1"
    put(tmp_path, "meta-huge.ndjson", line("1"), more="x" * MAX_METADATA_BYTES)
    reasons["meta-huge.ndjson"] = "at most 65536 are read"
    put(tmp_path, "meta-deep.ndjson", line("1"))
    (tmp_path / "meta-deep.ndjson.meta.json").write_text(DEEP[:60_000])
    reasons["meta-deep.ndjson"] = "recursion"
    put(tmp_path, "1.ndjson", line("1", seq="00000001-000001"), segment="1")
    done = verify(tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    told = {text.split(": ")[1]: text for text in done.stdout.splitlines() if text.startswith("unreadable: ")}
    assert told.keys() == reasons.keys()
    assert {key for key, reason in reasons.items() if reason not in told[key]} == set()
    assert max(map(len, told.values())) < 400, "a reason is a sentence, not the object"
    assert f"NOT JUDGED: {len(reasons)} of {len(reasons) + 1} objects could not be read (1 record" in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        line(DIGITS),
        line(f"[{DIGITS},1e999]"),
        line("{}", kind="platform.logsDropped"),
        line(f'{{"droppedRecords":{DIGITS},"droppedBytes":"many"}}', kind="platform.logsDropped"),
        line("[" * 200 + "]" * 200),
        lost(segment="3", until="9" * 18, records="9" * 18, bytes="9" * 18),
    ],
    ids=["a number", "numbers", "an empty loss of the platform", "an odd one", "nested", "a loss beyond counting"],
)
def test_what_a_function_may_log_is_no_reason_to_doubt_an_object(tmp_path: Path, body: bytes) -> None:
    """Logferry ships such lines as they are, so its own proof reads them."""
    put(tmp_path, "1.ndjson.gz", line("1", seq="00000001-000001"), segment="1")
    put(tmp_path, "2.ndjson.gz", body)
    done = verify(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("PROVEN")


def test_names_that_are_no_text_are_shown_as_they_can_be(tmp_path: Path) -> None:
    """A lone surrogate in metadata, bytes in a file's name that are no UTF-8."""
    put(
        tmp_path,
        "1.ndjson",
        line("1", seq="00000001-000001").replace(b'"e1"', b'"\\ud800"'),
        segment="1",
        environment="\ud800",
    )
    put(tmp_path, "broken-\udcff.ndjson", b"{}", segment="1")
    done = verify(tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "\\udcff" in done.stdout
