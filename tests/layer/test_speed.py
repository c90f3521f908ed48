"""The time that every cold start pays: from exec to the first /event/next. Ratios of one run, never milliseconds."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import logferry
from logferry.layer import smoke_test
from support.layer_roots import BUILD_SECONDS, Entry, arch_of, built_layer, empty_root, needs_apt, needs_root

pytestmark = [needs_root, needs_apt, pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]

ROUNDS = "45"
"""Quartiles of so many settle within a few percent, in three seconds."""

MOST_OF_BARE = 1.5
"""Register, subscribe, fork and the launcher, against an interpreter that starts and ends: it has been seen at 1.4."""

MOST_OF_CHECKOUT = 1.1
"""The layer is never the slower way; the tenth is for noise."""


def test_the_layer_is_ready_about_as_soon_as_its_bare_interpreter(tmp_path: Path) -> None:
    """The launcher and the bytecode cost next to nothing, and no less than the same sources from a checkout."""
    report = built_layer()
    checkout = tmp_path / "mnt/checkout"
    shutil.copytree(Path(logferry.__file__).parent, checkout / "logferry", ignore=shutil.ignore_patterns("__pycache__"))
    interpreter = smoke_test.command(report.tree / "logferry", python=report.python, arch=arch_of(report))
    subprocess.run([*interpreter, "-I", "-S", "-m", "compileall", "-q", str(checkout)], check=True, capture_output=True)
    shutil.copy(Path(__file__).parents[1] / "support" / "measure_start.py", tmp_path / "mnt")
    (tmp_path / "tmp").mkdir()
    entry = Entry(empty_root(), report.tree, tmp_path / "tmp", extra={"/mnt": tmp_path / "mnt"})
    python = f"/opt/logferry/bin/python{report.python}"
    command = entry.command(python, "-I", "-S", "-B", "/mnt/measure_start.py", python, ROUNDS)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(f"{name} {value:.1f} ms" for name, value in found.items())
    print(f"exec to first /event/next: {shown}; {found['layer'] / found['bare']:.2f} x the bare interpreter")
    assert found["layer"] <= MOST_OF_BARE * found["bare"], shown
    assert found["layer"] <= MOST_OF_CHECKOUT * found["checkout"], shown
