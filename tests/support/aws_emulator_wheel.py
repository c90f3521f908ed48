"""The binary of AWS's Lambda emulator: fetched by hash from the wheel of aws-sam-cli, and cached.

Design: only AWS distributes the binary, so it is neither committed nor shipped.
``.requirements/aws-emulator.txt`` pins the version and the hashes. The name of the cached file contains a
digest of that file, so another pin is another file. Two concurrent test runs each move a complete file
into place. Only the first run needs the network.
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
"""File names by ``platform.machine()``. The wheel contains both."""

FETCH_SECONDS = 300
"""Time limit for the download of the wheel (10 MB), in seconds, for a slow connection."""


class FetchError(RuntimeError):
    """The wheel could not be fetched. The message contains the output of the installer."""


def why_impossible() -> str | None:
    """Return the reason why no binary exists for this machine, or None. A network failure is an error instead."""
    if platform.machine() in BINARIES:
        return None
    return f"AWS's emulator has no binary for {platform.machine()}, only for {', '.join(BINARIES)}"


@functools.cache
def fetch() -> Path:
    """Return the emulator's binary from the user's cache, after a download from the package index if needed."""
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
    """Unpack the pinned wheel without its dependencies, with pip or, if there is none, with uv."""
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
