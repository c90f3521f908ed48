"""Where AWS's own Lambda emulator comes from: the wheel of aws-sam-cli, fetched by hash, kept in the user's cache.

The binary is AWS's to distribute, so it is neither committed nor shipped. ``.requirements/aws-emulator.txt`` pins the
version and the hashes; the cached file's name holds a digest of that file, so another pin is another file, and two test
runs that fetch at once each put a whole file in place. After the first time no network is needed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / ".requirements" / "aws-emulator.txt"
BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
"""By ``platform.machine()``; the wheel carries both."""

FETCH_SECONDS = 300
"""Bound on fetching the wheel (10 MB) over a slow line."""


class FetchError(RuntimeError):
    """The wheel could not be fetched; the message says what the installer said."""


def why_impossible() -> str | None:
    """Return why there is no binary for this machine, or None. A network that fails is an error, not a reason."""
    if platform.machine() in BINARIES:
        return None
    return f"AWS's emulator has no binary for {platform.machine()}, only for {', '.join(BINARIES)}"


@functools.cache
def fetch() -> Path:
    """Return the emulator's binary, from the user's cache or, the first time, from the package index."""
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logferry"
    binary = cache / f"{BINARIES[platform.machine()]}-{pinned}"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _install(Path(folder))
            fetched = Path(folder, "samcli", "local", "rapid", BINARIES[platform.machine()])
            fetched.chmod(0o755)
            fetched.replace(binary)
    return binary


def _install(folder: Path) -> None:
    """Unpack the pinned wheel, and nothing it depends on, with pip or, where an environment has none, with uv."""
    pip = [sys.executable, "-m", "pip", "install", "--no-compile"]
    uv = ["uv", "pip", "install", "--python", sys.executable]
    tool = pip if importlib.util.find_spec("pip") else uv
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command = [*tool, *options, "--target", str(folder), "--requirement", str(REQUIREMENTS)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except FileNotFoundError:
        raise FetchError("cannot fetch AWS's emulator: this environment has neither pip nor uv") from None
    if run.returncode:
        raise FetchError(f"cannot fetch AWS's emulator: {' '.join(command)}: {run.stderr.strip()}")
