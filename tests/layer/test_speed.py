"""Time from exec to the first /event/next, which is part of each cold start. The results are ratios of one run."""

import json
import shutil
import subprocess
from pathlib import Path

import logferry
from logferry.layer import smoke_test
from support.layer_roots import Entry, arch_of, built_layer, empty_root, in_roots

pytestmark = in_roots

ROUNDS = "45"
"""Number of rounds. Quartiles of so many values repeat within a few percent, and take three
seconds."""

MAX_RATIO_TO_BARE = 1.5
"""Limit for launcher, registration, subscription and fork, relative to the bare interpreter.
Measured: 1.4."""

MAX_RATIO_TO_CHECKOUT = 1.1
"""Limit relative to the same sources in a checkout. The layer is not slower; a tenth is for noise."""


def test_layer_is_ready_nearly_as_soon_as_its_bare_interpreter(tmp_path: Path) -> None:
    """Launcher and bytecode add little time, and not more than the same sources in a checkout."""
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
    assert found["layer"] <= MAX_RATIO_TO_BARE * found["bare"], shown
    assert found["layer"] <= MAX_RATIO_TO_CHECKOUT * found["checkout"], shown
