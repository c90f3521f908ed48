"""The build of the OpenTelemetry Collector for the tests: a machine without its modules skips them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support import otel_collector

GENERATES = "mkdir built\n"


def go_that(folder: Path, script: str) -> str:
    """Return the path of a program in place of Go, whose first argument is `run` or `build`."""
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return str(program)


def test_modules_that_cannot_be_downloaded_are_a_reason_to_skip(tmp_path: Path) -> None:
    """There is no network, for example."""
    go = go_that(tmp_path, 'echo "dial tcp: no such host" >&2\nexit 1\n')
    with pytest.raises(otel_collector.NotBuiltHereError, match="not available: dial tcp: no such host"):
        otel_collector.build(tmp_path, go=go)


@pytest.mark.parametrize("step", ["run", "build"])
def test_step_that_takes_too_long_ends_with_its_children(tmp_path: Path, step: str) -> None:
    """A child has the output open, and it ends too."""
    go = go_that(tmp_path, f"if [ $1 = {step} ]; then sleep 100 & echo $! > {tmp_path}/pid; wait; fi\n{GENERATES}")
    limits = {"download_seconds": 1.0} if step == "run" else {"compile_seconds": 1.0}
    with pytest.raises(otel_collector.NotBuiltHereError, match="1 s"):
        otel_collector.build(tmp_path, go=go, **limits)
    child = (tmp_path / "pid").read_text().strip()
    until = time.monotonic() + 20
    while _is_running(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _is_running(child)


def test_error_of_the_compiler_is_a_failure(tmp_path: Path) -> None:
    """The list of modules is wrong, and a skipped test would hide it."""
    go = go_that(tmp_path, f'if [ $1 = build ]; then echo "undefined: x"; exit 1; fi\n{GENERATES}')
    with pytest.raises(otel_collector.BuildError, match="undefined: x"):
        otel_collector.build(tmp_path, go=go)


def test_attempt_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further test is skipped without another download."""
    go_that(tmp_path, f"echo attempt >> {tmp_path}/attempts\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    otel_collector._built.cache_clear()
    try:
        for _ in range(3):
            with pytest.raises(pytest.skip.Exception, match="not available"):
                otel_collector.program()
    finally:
        otel_collector._built.cache_clear()
    assert (tmp_path / "attempts").read_text() == "attempt\n"


def _is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
