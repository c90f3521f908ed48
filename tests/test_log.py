"""logferry's own messages: one line each, as the function's own lines look, and quiet by default."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from logferry import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_text_is_one_line_that_begins_with_our_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Level, message, and the details in brackets."""
    log.configure(level="warning", as_json=False)
    structlog.get_logger().warning("an upload failed", why="403 AccessDenied", next_attempt_in_s=300.0)
    out = capsys.readouterr().out
    assert out == "logferry warning: an upload failed (why='403 AccessDenied' next_attempt_in_s=300.0)\n"


def test_text_without_details_has_no_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """A message alone stands alone."""
    log.configure(level="info", as_json=False)
    structlog.get_logger().info("started")
    assert capsys.readouterr().out == "logferry info: started\n"


def test_json_is_one_object_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the function logs JSON, so do we; what json does not know is written by its text."""
    log.configure(level="error", as_json=True)
    structlog.get_logger().error("two\nlines", path=type("P", (), {"__str__": lambda _: "/spool/x"})())
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    said = json.loads(out)
    assert (said["level"], said["logger"], said["message"]) == ("error", "logferry", "two\nlines")
    assert said["path"] == "/spool/x"


@pytest.mark.parametrize(("level", "said"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_silences_what_is_below_it(capsys: pytest.CaptureFixture[str], level: str, said: int) -> None:
    """LOGFERRY_LOG_LEVEL; each line costs the customer in CloudWatch."""
    log.configure(level=level, as_json=False)
    logger = structlog.get_logger()
    for say in (logger.debug, logger.info, logger.warning, logger.error):
        say("x")
    assert len(capsys.readouterr().out.splitlines()) == said


def test_a_message_of_two_lines_stays_on_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda splits stdout by lines: the second would be a record of its own."""
    log.configure(level="warning", as_json=False)
    structlog.get_logger().warning("why", error="first\nsecond")
    assert capsys.readouterr().out.count("\n") == 1
