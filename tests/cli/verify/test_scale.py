"""The proof of many objects: the planted faults, bounded memory, and time that grows with the number of objects.

Set VERIFY_OBJECTS=100000 for a larger prefix, which takes a few minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from support import stored_prefix

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = int(os.environ.get("VERIFY_OBJECTS", "10000"))
MAX_MEMORY_KB = 300_000
VERIFY = """
import pathlib, re, sys
from logferry.cli.main import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""
"""Script of the command. `ru_maxrss` would contain the memory of this process, from before the exec."""


def verify(root: Path) -> tuple[dict[str, Any], int, float]:
    """Return the report of the command, its memory in KB, and its time in seconds."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", VERIFY, "verify", f"file://{root}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return json.loads(done.stdout), int(done.stderr.strip().splitlines()[-1]), time.perf_counter() - begun


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_verify_of_many_objects_finds_the_planted_faults(tmp_path: Path) -> None:
    """The memory does not grow with the number of lines, and the time not faster than the number of objects."""
    stored_prefix.write(tmp_path / "small", OBJECTS // 10, metadata=False)
    prefix = stored_prefix.write(tmp_path / "large", OBJECTS, metadata=False)
    _, _, small = verify(tmp_path / "small")
    intact, memory, large = verify(tmp_path / "large")
    print(f"{OBJECTS} objects: {large:.1f} s, {memory} KB; a tenth: {small:.1f} s")
    assert (intact["status"], intact["objects"], intact["open"]) == (0, OBJECTS, 0)
    assert memory < MAX_MEMORY_KB * max(1, OBJECTS // 10_000)
    assert large < 20 * small, "the time grows faster than the number of objects"
    planted = stored_prefix.plant(prefix)
    report, _, _ = verify(tmp_path / "large")
    assert report["status"] == 1
    faulty = {each["environment"] for each in report["environments"] if not _is_complete(each)}
    expected = {name for name, _, _, fault, _ in planted if fault != "no closing line"}
    assert faulty == expected
    assert len(report["unreadable"]) == sum(fault == "no closing line" for _, _, _, fault, _ in planted)


def _is_complete(environment: dict[str, Any]) -> bool:
    return not (environment["missing_segments"] or environment["missing_lines"] or environment["duplicates"])
