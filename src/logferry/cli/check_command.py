"""The command `logferry check` and its options."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signature at run time
from typing import Annotated

import typer


def check(
    destination: Annotated[
        str,
        typer.Argument(
            help="s3://bucket/prefix, firehose://stream, https://host/path or file:///directory "
            "(default: that of the settings)"
        ),
    ] = "",
    settings: Annotated[
        str,
        typer.Option(
            help="env file, or JSON of `aws lambda get-function-configuration`; - reads stdin (default: environment)",
            metavar="FILE",
        ),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="LOGFERRY_CONFIG: file with settings, such as a local copy", metavar="FILE")
    ] = None,
    reading: Annotated[
        bool, typer.Option("--reading", help="also check the permissions of the reading commands")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Verify settings, credentials, network and permissions by storing a canary object.

    In S3, the canary is PREFIX/_logferry_check/_canary. All readers ignore it, and it is deleted if that is allowed.

    Exit status: 0 logferry can store objects, 1 a check has failed, 2 the settings cannot be read.
    """
    from logferry.cli.check.command import Options, run_check  # noqa: PLC0415 - only this command needs the sinks

    raise typer.Exit(run_check(Options(destination, settings, config, reading=reading, as_json=as_json)))
