"""Damaged objects: `logferry verify` names each one with the reason and checks the others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.directory_reader import MAX_METADATA_BYTES
from logferry.cli.object_limits import MAX_LINE_BYTES, MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = "9" * 5000
SECONDS = 60
DEEP = "[" * 100_000 + "]" * 100_000


def verify(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process."""
    command = [sys.executable, "-c", "from logferry.cli.main import main; main()", "verify", f"file://{directory}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def line(record: str, *, kind: str = "function", segment: str = "2", extra: str = "0") -> bytes:
    """Return a line of a segment with this JSON text as its record, and its closing line."""
    place = f'"environment":"e1","segment":{segment}'
    first = f'{{"type":"{kind}","record":{json.dumps(record)},"extra":{extra},{place},"line":1}}'
    return f'{first}\n{{"type":"logferry.segment",{place},"line":2}}\n'.encode()


def lost(**fields: str) -> bytes:
    """Return a line that reports a loss, with some of its fields as this JSON text."""
    record = {"environment": '"e1"', "segment": "1", "until": "1", "records": "1", "bytes": "1"} | fields
    return line("{" + ",".join(f'"{name}":{value}' for name, value in record.items()) + "}", kind="logferry.dropped")


def put(root: Path, key: str, body: bytes, *, segment: str = "2", environment: str = "e1", **more: Any) -> None:
    """Store an object in the format of the directory sink."""
    metadata = {"environment": environment, "segment": segment, "records": "1", **more}
    (root / key).write_bytes(gzip.compress(body) if key.endswith(".gz") else body)
    (root / f"{key}.meta.json").write_text(json.dumps(metadata))


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "no-segment": (line("1", segment=DIGITS), "is not a count"),
    "deep": (line("1", extra=DEEP), "RecursionError"),
    "nan": (line("1", extra="NaN"), "NaN is not JSON"),
    "infinity": (line("1", extra="[-Infinity]"), "-Infinity is not JSON"),
    "lost-deep": (lost(reason=DEEP), "RecursionError"),
    "lost-infinity": (lost(records="1e999"), "inf is not a count"),
    "lost-digits": (lost(bytes=DIGITS), "is not a count"),
    "lost-negative": (lost(records="-1"), "-1 is not a count"),
    "lost-half": (lost(segment="1.5"), "1.5 is not a count"),
    "lost-true": (lost(until="true"), "True is not a count"),
    "lost-backwards": (lost(segment="5"), "5 to 1 is not a range"),
    "lost-nothing": (lost(segment="0"), "0 to 1 is not a range"),
}


def test_verify_names_each_unreadable_object_with_its_reason(tmp_path: Path) -> None:
    """Huge numbers, deep nesting and huge files give one sentence each, and never a traceback."""
    reasons = {}
    for name, (body, reason) in UNREADABLE.items():
        put(tmp_path, f"{name}.ndjson", body)
        reasons[f"{name}.ndjson"] = reason
    put(tmp_path, "bomb.ndjson.gz", bytes(MAX_LINE_BYTES + 1))
    reasons["bomb.ndjson.gz"] = "a line is longer than"
    put(tmp_path, "huge.ndjson", b"")
    os.truncate(tmp_path / "huge.ndjson", MAX_OBJECT_BYTES + 1)
    reasons["huge.ndjson"] = "exceeds the limit of 1073741824 bytes"
    put(tmp_path, "meta-digits.ndjson", line("1"), segment=DIGITS)
    reasons["meta-digits.ndjson"] = "not a whole number of at least 1"
    put(tmp_path, "meta-huge.ndjson", line("1"), more="x" * MAX_METADATA_BYTES)
    reasons["meta-huge.ndjson"] = "exceeds the limit of 65536 bytes"
    put(tmp_path, "meta-deep.ndjson", line("1"))
    (tmp_path / "meta-deep.ndjson.meta.json").write_text(DEEP[:60_000])
    reasons["meta-deep.ndjson"] = "recursion"
    put(tmp_path, "1.ndjson", line("1", segment="1"), segment="1")
    done = verify(tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    listed = {text.split(": ")[1]: text for text in done.stdout.splitlines() if text.startswith("unreadable: ")}
    assert listed.keys() == reasons.keys()
    assert {key for key, reason in reasons.items() if reason not in listed[key]} == set()
    assert max(map(len, listed.values())) < 400, "a reason must be a sentence"
    assert f"UNREADABLE: {len(reasons)} of {len(reasons) + 1} objects (1 record" in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        line(DIGITS),
        line(f"[{DIGITS},1e999]"),
        line("{}", kind="platform.logsDropped"),
        line(f'{{"droppedRecords":{DIGITS},"droppedBytes":"many"}}', kind="platform.logsDropped"),
        line(DEEP),
        lost(segment="3", until="9" * 18, records="9" * 18, bytes="9" * 18),
    ],
    ids=["a number", "numbers", "an empty loss of the platform", "an odd one", "nested", "a loss beyond counting"],
)
def test_verify_accepts_every_value_that_a_function_can_log(tmp_path: Path, body: bytes) -> None:
    """Records are stored unchanged, so `verify` reads all of them."""
    put(tmp_path, "1.ndjson.gz", line("1", segment="1"), segment="1")
    put(tmp_path, "2.ndjson.gz", body)
    done = verify(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("COMPLETE")


def test_verify_escapes_names_that_are_not_text(tmp_path: Path) -> None:
    """The names are a lone surrogate in metadata and invalid UTF-8 in a file name."""
    put(
        tmp_path,
        "1.ndjson",
        line("1", segment="1").replace(b'"e1"', b'"\\ud800"'),
        segment="1",
        environment="\ud800",
    )
    put(tmp_path, "broken-\udcff.ndjson", b"{}", segment="1")
    done = verify(tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "\\udcff" in done.stdout
