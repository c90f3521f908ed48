"""What the shipper loads, as it loads it: in an interpreter of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import logferry
from logferry.shipper.import_stubs import ABSENT

SECONDS = 60
PATHS = [str(Path(logferry.__file__).parents[1]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
AS_THE_SHIPPER_LOADS = f"""
import gc, json, os, sys
gc.disable()
sys.path.extend({PATHS!r})
from logferry.shipper import main as app
from logferry.shipper.import_stubs import ABSENT
app._load(app.Settings.from_environ(os.environ))
print(json.dumps({{
    "stand-ins": [name for name in ABSENT if type(sys.modules.get(name)).__name__ == "_StandIn"],
    "finders": [type(finder).__name__ for finder in sys.meta_path if type(finder).__module__.startswith("logferry")],
    "behind": [name for name in ("s3transfer", "multiprocessing", "botocore.docs.bcdoc") if name in sys.modules],
    "collecting": gc.isenabled(),
    "frozen": gc.get_freeze_count(),
}}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """Give what an interpreter says of itself that has loaded everything for a bucket."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", AS_THE_SHIPPER_LOADS],
        env={"PATH": os.defpath, "LOGFERRY_DESTINATION": "s3://bucket", "AWS_REGION": "us-east-1"},
        capture_output=True, text=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_stand_in_is_asked_for_and_what_hangs_on_it_stays_out(loaded: dict[str, Any]) -> None:
    """A name that a new version of a library no longer imports is to go from the list."""
    assert loaded["stand-ins"] == list(ABSENT)
    assert loaded["behind"] == []


def test_later_imports_are_as_usual(loaded: dict[str, Any]) -> None:
    """Neither the pause nor the stand-ins outlast the loading."""
    assert loaded["finders"] == []


def test_garbage_is_collected_again_but_not_among_modules(loaded: dict[str, Any]) -> None:
    """What a long life leaves behind must not pile up."""
    assert loaded["collecting"]
    assert loaded["frozen"] > 10_000
