"""The commands that read stored records, and their common options.

Exit status of each command: 0 done, 1 nothing was found or an object is unreadable, 2 the destination
cannot be read or the options are invalid.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads the signatures at run time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from logferry.cli.extras import reporting_missing_extra
from logferry.cli.option_values import regex_of, window_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logferry.cli.fetch.selection import Selection

Destination = Annotated[str, typer.Argument(help="s3://bucket/prefix or file:///directory")]
Function = Annotated[str, typer.Option(help="name of the function, or a pattern such as 'orders-*'", metavar="NAME")]
Since = Annotated[str | None, typer.Option(help="ignore older records", metavar="TIME")]
Until = Annotated[str | None, typer.Option(help="ignore newer records", metavar="TIME")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object per line")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask before more than 20,000 GETs")]
Fallback = Annotated[
    str, typer.Option(help="LOGFERRY_FALLBACK_DESTINATION, whose objects are read too", metavar="DESTINATION")
]
Grep = Annotated[str | None, typer.Option(help="show only lines that match a regular expression", metavar="REGEX")]
Highlight = Annotated[str | None, typer.Option(help="highlight what matches a regular expression", metavar="REGEX")]
Platform = Annotated[bool, typer.Option("--platform", help="show all records of the platform")]

FAILED = 2


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (logs, tail, query, report, tables):
        cli.command()(command)


def logs(  # noqa: PLR0917 - typer reads options from the signature
    destination: Destination,
    function: Function = "*",
    request_id: Annotated[
        str | None, typer.Option(help="show one invocation; the beginning of the ID is sufficient", metavar="ID")
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="show failed, timed-out and cold invocations, one line each")
    ] = False,
    since: Since = None,
    until: Until = None,
    grep: Grep = None,
    highlight: Highlight = None,
    platform: Platform = False,
    fallback: Fallback = "",
    as_json: Json = False,
    yes: Yes = False,
) -> None:
    """Show stored records: one invocation, failed invocations, or all lines of a time window.

    TIME is an age such as 2h or 7d, or an ISO 8601 time. Without a time zone it is UTC.

    Exit status: 0 lines were found, 1 no line was found or an object is unreadable, 2 the destination cannot be read.
    """
    if function == "*" and not since:
        raise typer.BadParameter("give --function or --since, or the complete destination would be read")
    if errors and request_id:
        raise typer.BadParameter("--errors and --request-id exclude each other: give one of them")
    with reading("logs"):
        from logferry.cli.logs import command  # noqa: PLC0415 - only the reading commands need DuckDB

        if request_id is not None and not command.REQUEST_ID.fullmatch(request_id.lower()):
            raise typer.BadParameter(
                f"{request_id!r} is not the beginning of a request ID: give at least 4 hexadecimal digits",
                param_hint="--request-id",
            )
        wanted = command.Wanted(
            request_id=(request_id or "").lower(),
            errors=errors,
            platform=platform,
            grep=regex_of("--grep", grep),
            highlight=regex_of("--highlight", highlight),
            as_json=as_json,
        )
        chosen = selection(function, since, until)
        raise typer.Exit(command.logs(destination, chosen, wanted, yes=yes, fallback=fallback))


def tail(  # noqa: PLR0917
    destination: Destination,
    function: Function = "*",
    since: Annotated[
        str | None, typer.Option(help="begin with records that were stored since then", metavar="TIME")
    ] = None,
    grep: Grep = None,
    highlight: Highlight = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """Print new records as they are stored, until Ctrl-C.

    A poll lists each function once, or twice after the turn of an hour, every 1 to 5 seconds.

    Exit status: 0 after Ctrl-C, 2 the destination cannot be read.
    """
    with reading("tail"):
        from logferry.cli.tail import command  # noqa: PLC0415

        view = command.View(
            grep=regex_of("--grep", grep),
            highlight=regex_of("--highlight", highlight),
            platform=platform,
            as_json=as_json,
        )
        raise typer.Exit(command.tail(destination, selection(function, since, None), view))


def query(  # noqa: PLR0917
    destination: Destination,
    sql: Annotated[str | None, typer.Argument(help="SQL over logs, invocations, objects, segments, faults")] = None,
    saved: Annotated[
        Literal["slowest", "errors", "cold-starts", "memory", "noise", "waits"] | None,
        typer.Option(help="a saved query instead of SQL", metavar="NAME"),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="print the SQL of the saved query")] = False,
    function: Function = "*",
    since: Since = None,
    until: Until = None,
    form: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="format of the result")
    ] = "table",
    output: Annotated[Path | None, typer.Option(help="file of the result (default: stdout)", metavar="FILE")] = None,
    as_json: Json = False,
    engine: Annotated[
        Literal["duckdb", "athena"], typer.Option(help="duckdb runs the query here; athena prints it")
    ] = "duckdb",
    workgroup: Annotated[
        str | None, typer.Option(help="run the query in this workgroup of Athena", metavar="NAME")
    ] = None,
    database: Annotated[str, typer.Option(help="database of the tables in Athena", metavar="NAME")] = "default",
    fallback: Fallback = "",
    yes: Yes = False,
) -> None:
    """Run SQL over the stored records with DuckDB, on this machine.

    The views are logs (a row for each line), function_lines, invocations (a row for each request), failures,
    invocation_summaries, objects, object_counts, segments and faults. `DESCRIBE logs` shows their columns.

    Saved queries: slowest, errors, cold-starts, memory, noise, waits.

    Exit status: 0 done, 1 done without unreadable objects, 2 not done.
    """
    form = "json" if as_json else form
    if fallback and engine == "athena":
        raise typer.BadParameter("Athena reads the tables of one destination: leave it out", param_hint="--fallback")
    _check_query(sql, saved, form, output)
    with reading("query"):
        from logferry.cli.query.saved import saved_query  # noqa: PLC0415

        try:
            text = saved_query(saved, engine) if saved else sql or ""
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--saved") from error
        chosen = selection(function, since, until)
        if engine == "athena":
            text = _athena_text(text, chosen)
        if show or (engine == "athena" and not workgroup):
            sys.stdout.write(f"{text.rstrip().rstrip(';')};\n")
            return
        if engine == "athena":
            from logferry.cli.query import athena  # noqa: PLC0415

            raise typer.Exit(athena.run(text, workgroup=workgroup or "", database=database, as_json=form == "json"))
        from logferry.cli.query import command  # noqa: PLC0415

        raise typer.Exit(command.query(destination, chosen, text, form=form, output=output, yes=yes, fallback=fallback))


def report(  # noqa: PLR0917
    destination: Destination,
    function: Function = "*",
    since: Since = None,
    until: Until = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file (default: report.html)", metavar="FILE")
    ] = None,
    perfetto: Annotated[
        Path | None, typer.Option(help="write a trace for ui.perfetto.dev instead", metavar="FILE")
    ] = None,
    fallback: Fallback = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the data of the report as JSON instead")] = False,
    yes: Yes = False,
) -> None:
    """Write one HTML file with a time line, durations, errors, cost, and the proof of completeness.

    The file contains its data and makes no network request.

    Exit status: 0 written, 2 not written. `logferry verify` has a status for missing records.
    """
    with reading("report"):
        from logferry.cli.report import command  # noqa: PLC0415

        request = command.ReportRequest(
            destination=destination,
            selection=selection(function, since, until),
            output=output,
            perfetto=perfetto,
            as_json=as_json,
            yes=yes,
            fallback=fallback,
        )
        raise typer.Exit(command.report(request))


def tables(
    destination: Destination,
    engine: Annotated[Literal["duckdb", "spark", "athena"], typer.Option(help="engine of the definitions")] = "duckdb",
    as_json: Json = False,
) -> None:
    """Print the tables, views, proof and lifecycle rule of a destination for an SQL engine.

    They are the definitions that logferry tests and uses itself. Nothing is read.
    """
    with reading("tables"):
        from logferry.cli.query.tables import definitions, text_of  # noqa: PLC0415

        parts = definitions(engine, destination)
        if as_json:
            sys.stdout.writelines(json.dumps(part._asdict()) + "\n" for part in parts)
        else:
            sys.stdout.write(text_of(parts))


@contextmanager
def reading(command: str) -> Iterator[None]:
    """Report an unreadable destination and a missing extra with one sentence on stderr, and exit with status 2."""
    from logferry.cli.stored_objects import DestinationError  # noqa: PLC0415

    try:
        with reporting_missing_extra(command):
            yield
    except DestinationError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(FAILED) from error


def selection(function: str, since: str | None, until: str | None) -> Selection:
    """Return the selection of the common options. Raise BadParameter."""
    from logferry.cli.fetch.selection import Selection  # noqa: PLC0415

    return Selection(function, window_of(since, until))


def _athena_text(text: str, chosen: Selection) -> str:
    from logferry.cli.query.athena_text import athena_text  # noqa: PLC0415

    try:
        return athena_text(text, chosen)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--engine") from error


def _check_query(sql: str | None, saved: str | None, form: str, output: Path | None) -> None:
    if bool(sql) == bool(saved):
        raise typer.BadParameter("give either SQL or --saved")
    if output is not None and form == "table":
        raise typer.BadParameter("a file needs --format csv, json or parquet", param_hint="--output")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is binary: give --output FILE", param_hint="--format")
