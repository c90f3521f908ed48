"""A real OpenTelemetry Collector with the OTLP receiver and a file exporter, built from its Go modules.

Design: the collector builder makes the program from a list of modules. The program is kept in the user's cache, under a
digest of the list, so that only the first run needs Go's module proxy. A build with an empty cache takes 70 s on two
cores, most of it in the compiler. Without the modules or the time for it, the tests are skipped. The attempt is made
once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logferry.layer.debian import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION, STABLE_VERSION = "v0.161.0", "v1.67.0"
"""Versions of one release: of most modules, and of those that are stable."""
MANIFEST = f"""\
dist: {{name: otelcol-test, output_path: ./built}}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver {VERSION}
exporters:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter {VERSION}
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider {STABLE_VERSION}
conf_resolver: {{default_uri_scheme: file}}
"""
DOWNLOAD_SECONDS, COMPILE_SECONDS = 150.0, 300.0
"""Limits of the two steps of a build. Together they end before the timeout of a test, 600 s."""
START_SECONDS = 60.0
DEFAULT_REQUEST_BYTES = 20 * 1024 * 1024
"""Limit of a request of the OTLP receiver, after decompression."""


class BuildError(RuntimeError):
    """The collector could not be built. The message contains the output of the builder."""


class NotBuiltHereError(RuntimeError):
    """The modules or the time for a build are missing. This is no fault of the collector or of the tests."""


def program() -> Path:
    """Return the path of the collector, or skip the test if it cannot be built here. Raises BuildError."""
    path, reason = _built()
    if path is None:
        pytest.skip(reason)
    return path


@functools.cache
def _built() -> tuple[Path | None, str]:
    """Return the path of the collector, or the reason why there is none. Raises BuildError."""
    digest = hashlib.sha256(MANIFEST.encode()).hexdigest()[:12]
    built = cache_folder() / "otelcol" / digest
    if built.exists():
        return built, ""
    if shutil.which("go") is None:
        return None, "no go"
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent, prefix=".building-") as folder:
        try:
            build(Path(folder)).rename(built)
        except NotBuiltHereError as error:
            return None, str(error)
    return built, ""


def build(
    folder: Path,
    *,
    go: str = "go",
    download_seconds: float = DOWNLOAD_SECONDS,
    compile_seconds: float = COMPILE_SECONDS,
) -> Path:
    """Build the collector in a folder and return its path. Raises NotBuiltHereError or BuildError."""
    (folder / "builder.yaml").write_text(MANIFEST)
    builder = f"go.opentelemetry.io/collector/cmd/builder@{VERSION}"
    generate = [go, "run", builder, "--config", "builder.yaml", "--skip-compilation"]
    status, output = _run(generate, folder, download_seconds)
    if status != 0:
        raise NotBuiltHereError(f"the modules of the collector are not available: {output[-300:].strip()}")
    status, output = _run([go, "build", "-trimpath", "-o", "otelcol-test", "."], folder / "built", compile_seconds)
    if status is None:
        raise NotBuiltHereError(f"the collector was not compiled within {compile_seconds:.0f} s")
    if status != 0:
        raise BuildError(f"the collector cannot be built:\n{output[-3000:]}")
    return folder / "built/otelcol-test"


def _run(command: list[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """Run a command with its children; return its status, None after the time limit, and its output."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
            start_new_session=True,
        )
        status = None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            output.write(f"\nended after {seconds:.0f} s".encode())
        finally:
            if status is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")


class Collector:
    """A running collector: its URL, and what it has received."""

    def __init__(self, url: str, output: Path) -> None:
        self.url = url
        self._output = output

    def requests(self) -> list[dict[str, Any]]:
        """Return the log data of each request that the exporter has written completely."""
        text = self._output.read_bytes() if self._output.exists() else b""
        return [json.loads(line) for line in text.split(b"\n")[:-1]]

    def wait_for(self, records: int, *, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Wait until the exporter has written so many log records; return the requests."""
        until, size, found = time.monotonic() + seconds, 0, list[dict[str, Any]]()
        while time.monotonic() < until:
            before, size = size, self._output.stat().st_size if self._output.exists() else 0
            if size != before:
                found = self.requests()
                if sum(len(scope["logRecords"]) for _, scope in scopes(found)) >= records:
                    break
            time.sleep(0.1)
        return found


def scopes(requests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the attributes of the resource, and the scope with its log records."""
    for request in requests:
        for logs in request["resourceLogs"]:
            for scope in logs["scopeLogs"]:
                yield attributes(logs["resource"]), scope


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a resource or a log record by name."""
    return {each["key"]: next(iter(each["value"].values())) for each in holder.get("attributes", ())}


@contextlib.contextmanager
def otel_collector(
    folder: Path, certificate: tuple[str, str], *, max_request_bytes: int = DEFAULT_REQUEST_BYTES
) -> Iterator[Collector]:
    """Run a collector on loopback with TLS until the block ends."""
    command = [str(program()), "--config", f"file:{folder}/collector.json"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    output = folder / "collected.jsonl"
    http = {
        "endpoint": f"127.0.0.1:{port}",
        "tls": {"cert_file": certificate[0], "key_file": certificate[1]},
        "max_request_body_size": max_request_bytes,
    }
    config = {
        "receivers": {"otlp": {"protocols": {"http": http}}},
        "exporters": {"file": {"path": str(output), "flush_interval": "100ms"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }
    (folder / "collector.json").write_text(json.dumps(config))
    log = folder / "collector.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        _wait_until_listening(port, process, log)
        yield Collector(f"https://localhost:{port}/v1/logs", output)
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the collector does not listen:\n{log.read_text()[-3000:]}")
