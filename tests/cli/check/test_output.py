"""Output for people: the example of the README, widths, and a terminal."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from logferry.cli.check.line_canary import line_canary
from logferry.cli.check.output import PIPE_COLUMNS, lines_of
from logferry.cli.check.result import Step
from logferry.settings import Settings
from logferry.shipper.upload_target import open_target
from support.check_runs import DESTINATION, check, s3_that
from support.command_line import in_terminal, run, without_colours
from support.s3_stub import OK, s3_error, status

ROOT = Path(__file__).parents[3]
SENTENCE = (
    "User: arn:aws:sts::123456789012:assumed-role/pay-role/me is not authorized to perform: s3:PutObjectTagging on "
    "resource: &quot;arn:aws:s3:::my-log-bucket/logs/_logferry_check/_canary&quot; because no identity-based policy "
    "allows the s3:PutObjectTagging action"
)


def test_the_example_of_the_readme_is_the_output_for_that_sentence() -> None:
    """The block shows a role that may not set tags. S3's sentence is repeated as it is."""

    def respond(head: str) -> bytes:
        if not head.startswith("PUT "):
            return status("200 OK")
        is_tagged = "x-amz-tagging" in head.lower()
        return s3_error("403 Forbidden", "AccessDenied", message=SENTENCE) if is_tagged else OK

    with s3_that(respond) as (environment, _):
        done = run("check", DESTINATION, environment=environment | {"LOGFERRY_S3_TAGS": "team=x"})
    assert done.status == 1
    put = done.stdout[done.stdout.index("failed   put") : done.stdout.index("ok       delete")]
    assert put in (ROOT / "README.md").read_text()
    assert done.stdout.endswith("\nFAILED: put\n")


def test_lines_of_a_pipe_fit_into_80_columns_and_no_word_is_broken() -> None:
    """A longer word is not broken, because it could not be copied then."""
    arn = f"arn:aws:s3:::{'b' * 60}/{'prefix/' * 5}*"
    step = Step(
        "put", "failed", f"403 AccessDenied: {'words of a sentence ' * 9}{arn}", ("a note " * 30,), "remedy " * 30
    )
    lines = list(lines_of(step, PIPE_COLUMNS))
    assert [line.strip() for line in lines if len(line) > PIPE_COLUMNS] == [arn]
    assert len(lines) > 8
    assert all(line.startswith(" " * 22) for line in lines[1:])


def test_a_long_name_is_separated_from_its_detail() -> None:
    """The names of the fallback destination's steps are longer than the column."""
    (line,) = lines_of(Step("fallback credentials", "ok", "environment variables"), PIPE_COLUMNS)
    assert line == "ok       fallback credentials  environment variables"


def test_a_terminal_has_colours_and_its_own_width(tmp_path: Path) -> None:
    """The text is the same as in a pipe."""
    shown = in_terminal(100, "check", f"file://{tmp_path}/out")
    assert "\x1b[" in shown
    lines = without_colours(shown).splitlines()
    assert lines[0] == "ok       settings     valid; flush adaptive, compression gzip"
    assert lines[-1] == "OK: logferry can store objects here"


def test_json_has_no_empty_members_and_the_status(tmp_path: Path) -> None:
    """A program finds the failed steps without knowledge of the texts."""
    done = check({}, f"file://{tmp_path}/out")
    assert done.steps["delete"] == {"name": "delete", "status": "ok", "detail": "the canary was deleted"}
    assert re.search(r'"status": 0,\n  "destination": "file://', done.output)


async def test_the_canary_of_streams_and_receivers_is_a_complete_environment(tmp_path: Path) -> None:
    """A stream can deliver it to a bucket, in which `verify` then finds it."""
    environ = {"LOGFERRY_DESTINATION": f"file://{tmp_path}/out"}
    target = open_target(Settings.from_environ(environ), environ)
    await target.sink.put(line_canary(target, environ))
    done = await asyncio.to_thread(run, "verify", environ["LOGFERRY_DESTINATION"])
    assert done.status == 0
    assert "COMPLETE: no missing and no duplicate records (1 object, 0 records, 1 environment)" in done.stdout
