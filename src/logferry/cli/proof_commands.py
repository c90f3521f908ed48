"""The commands that prove and compact stored records, and their options."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signatures at run time
from typing import Annotated

import typer

from logferry.cli.extras import reporting_missing_extra
from logferry.cli.option_values import age_of, window_of


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (verify, compact):
        cli.command()(command)


def verify(  # noqa: PLR0917 - typer reads options from the signature
    destination: Annotated[str, typer.Argument(help="s3://bucket/prefix or file:///directory")],
    since: Annotated[
        str | None, typer.Option(help="ignore older records, which a lifecycle rule deletes", metavar="TIME")
    ] = None,
    until: Annotated[str | None, typer.Option(help="ignore newer records", metavar="TIME")] = None,
    function: Annotated[str, typer.Option(help="function, or a glob such as 'orders-*'", metavar="NAME")] = "*",
    keys: Annotated[bool, typer.Option("--keys", help="verify segments by the names only, without a GET")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="file with the rows of earlier runs, to which this run adds its own; for one window after the other",
            metavar="FILE",
        ),
    ] = None,
    fallback: Annotated[
        str, typer.Option(help="LOGFERRY_FALLBACK_DESTINATION, whose objects are verified too", metavar="DESTINATION")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before an expensive read")] = False,
) -> None:
    """Read all objects of a destination and verify that no record is missing or duplicated.

    TIME is an age such as 2h or 7d, or an ISO 8601 time. Without a time zone it is UTC.

    Exit status: 0 complete, 1 incomplete, 2 not verifiable (an unreadable object, or no objects).
    """
    if keys and state:
        raise typer.BadParameter("--keys reads no lines, so it has no rows for --state: give one of them")
    with reporting_missing_extra("verify"):
        from logferry.cli.verify.command import run_verify  # noqa: PLC0415 - only this command reads S3
        from logferry.cli.verify.options import Options  # noqa: PLC0415

    limits = window_of(since, until)
    window = limits if limits.is_limited else None
    options = Options(
        window=window, function=function, names_only=keys, state=state, fallback=fallback, yes=yes, as_json=as_json
    )
    raise typer.Exit(run_verify(destination, options))


def compact(  # noqa: PLR0917 - typer reads options from the signature
    destination: Annotated[str, typer.Argument(help="s3://bucket/prefix or file:///directory")],
    run: Annotated[bool, typer.Option("--run", help="write the files; without it, only show what is due")] = False,
    function: Annotated[str, typer.Option(help="function, or a glob such as 'orders-*'", metavar="NAME")] = "*",
    since: Annotated[str | None, typer.Option(help="no earlier hours", metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option(help="no later hours", metavar="TIME")] = None,
    grace: Annotated[str, typer.Option(help="time after the end of an hour, for late objects", metavar="AGE")] = "2h",
    delete_proven: Annotated[
        bool, typer.Option("--delete-proven", help="delete raw objects of proven environments after a second grace")
    ] = False,
    delete_grace: Annotated[
        str, typer.Option(help="age of a file until its raw objects are deleted", metavar="AGE")
    ] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before an expensive read")] = False,
) -> None:
    """Write one Parquet file for each function and hour, and for each day that is over.

    A partition with a missing, duplicated or unreadable line is refused. Without --run, nothing is written or deleted.

    Exit status: 0 written or nothing to do, 1 a partition was refused, 2 not readable or not writable.
    """
    with reporting_missing_extra("compact"):
        from logferry.cli.compact.command import Options, run_compact  # noqa: PLC0415 - needs the extra
        from logferry.cli.fetch.selection import Selection  # noqa: PLC0415

    window = window_of(since, until)
    options = Options(
        selection=Selection(function, window),
        run=run,
        grace=age_of("--grace", grace),
        delete_proven=delete_proven,
        delete_grace=age_of("--delete-grace", delete_grace),
    )
    raise typer.Exit(run_compact(destination, options, as_json=as_json, yes=yes))
