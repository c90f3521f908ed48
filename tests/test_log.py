"""logferry's own messages: one line each in the form of the function's lines, and few of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from logferry import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _initial_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log, "_LOGGER", log.Logger())
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture(params=[True, False], ids=["structlog", "by hand"])
def _writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let structlog write the lines, or make its import fail."""
    if not request.param:
        monkeypatch.setitem(sys.modules, "structlog", None)


@pytest.mark.usefixtures("_writer")
def test_log_writes_text_as_one_line_that_begins_with_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The line has level, message, and the details in brackets."""
    log.configure(level="warning", as_json=False)
    log.get_logger().warning("an upload failed", why="403 AccessDenied", next_attempt_in_s=300.0)
    out = capsys.readouterr().out
    assert out == "logferry warning: an upload failed (why='403 AccessDenied' next_attempt_in_s=300.0)\n"


@pytest.mark.usefixtures("_writer")
def test_log_writes_text_without_brackets_if_there_are_no_details(capsys: pytest.CaptureFixture[str]) -> None:
    """A message without details is the end of its line."""
    log.configure(level="info", as_json=False)
    log.get_logger().info("started")
    assert capsys.readouterr().out == "logferry info: started\n"


@pytest.mark.usefixtures("_writer")
def test_log_writes_json_as_one_object_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """If the function logs JSON, logferry does too; a value that JSON does not support is written as its text."""
    log.configure(level="error", as_json=True)
    log.get_logger().error("two\nlines", path=type("P", (), {"__str__": lambda _: "/spool/x"})())
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    assert list(document) == ["level", "logger", "message", "path"]
    assert list(document.values()) == ["error", "logferry", "two\nlines", "/spool/x"]


@pytest.mark.usefixtures("_writer")
@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_log_discards_messages_below_its_level(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """LOGFERRY_LOG_LEVEL is the threshold; each line costs the customer in CloudWatch."""
    log.configure(level=level, as_json=False)
    logger = log.get_logger()
    write: Callable[[str], None]
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("x")
    assert len(capsys.readouterr().out.splitlines()) == lines


@pytest.mark.usefixtures("_writer")
def test_log_keeps_a_message_with_line_breaks_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda splits stdout by lines, so the second line would be a separate record."""
    log.configure(level="warning", as_json=False)
    log.get_logger().warning("first\nsecond", error="first\nsecond")
    assert capsys.readouterr().out == "logferry warning: first second (error='first\\nsecond')\n"


def test_log_uses_a_form_that_was_configured_after_the_logger_was_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Modules take their logger when they are imported, before the settings are read."""
    logger = log.get_logger()
    log.configure(level="error", as_json=True)
    logger.warning("discarded")
    logger.error("written")
    assert json.loads(capsys.readouterr().out)["message"] == "written"


LAZY = """
import sys
from logferry import log
log.configure(level="warning", as_json=False)
log.get_logger().debug("discarded")
print("structlog" in sys.modules)
log.get_logger().warning("written")
print("structlog" in sys.modules)
"""


def test_log_imports_structlog_with_the_first_message_that_passes() -> None:
    """Most environments never log a message, and the import costs CPU time of the cold start."""
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.splitlines() == ["False", "logferry warning: written", "True"]
