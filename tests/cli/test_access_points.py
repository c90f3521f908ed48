"""Destinations that the commands cannot read, although the extension can store objects there."""

from __future__ import annotations

import pytest

from support.command_line import run

ARN = "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/logs/prefix"


@pytest.mark.parametrize(
    "command",
    [("verify", ARN), ("query", ARN, "SELECT 1"), ("tables", ARN), ("compact", ARN), ("report", ARN)],
    ids=lambda command: str(command[0]),
)
def test_a_command_refuses_the_arn_of_an_access_point_with_the_remedy(command: tuple[str, ...]) -> None:
    """The engines address buckets by name, and an access point has an alias for them."""
    done = run(*command)
    assert done.status == 2, done
    assert "use the name of the bucket or the alias of the access point" in " ".join(
        (done.stdout + done.stderr).split()
    )
