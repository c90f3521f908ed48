"""The commands and their options. Each command imports its libraries when it runs."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from logferry.cli import read_commands
from logferry.cli.extras import reporting_missing_extra, require_programs
from logferry.cli.run import argv
from logferry.cli.run import run as run_extension

cli = typer.Typer(
    help="Ship every log record of an AWS Lambda function to S3. These commands run and check it on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.command()
def run() -> None:
    """Start the extension in this process, as the layer's launcher does.

    Requires a Lambda environment.
    """
    run_extension()


@cli.command()
def demo(
    report: Annotated[bool, typer.Option("--report", help="also write logferry-demo-report.html")] = False,
) -> None:
    """Run a sample function with logferry and a local S3 server, and show the stored records."""
    require_programs("demo")
    with reporting_missing_extra("demo"):
        from logferry.cli.demo import REPORT  # noqa: PLC0415 - only this command needs the S3 server
        from logferry.cli.demo import demo as show  # noqa: PLC0415

    raise typer.Exit(asyncio.run(show(Console(), report=Path(REPORT) if report else None)))


@cli.command()
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
        from logferry.cli.verify.report import Options, run_verify  # noqa: PLC0415 - only this command reads S3
        from logferry.cli.verify.window import Window  # noqa: PLC0415

    window = Window(since=_time("--since", since), until=_time("--until", until))
    options = Options(
        window=window,
        function=function,
        names_only=keys,
        state=state,
        fallback=fallback,
        yes=yes,
        as_json=as_json,
    )
    raise typer.Exit(run_verify(destination, options))


@cli.command()
def check(
    destination: Annotated[
        str, typer.Argument(help="s3://bucket/prefix or file:///directory (default: that of the settings)")
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

    The canary is PREFIX/_logferry_check/_canary. All readers ignore it, and it is deleted if that is allowed.

    Exit status: 0 logferry can store objects, 1 a check has failed, 2 the settings cannot be read.
    """
    from logferry.cli.check.command import Options, run_check  # noqa: PLC0415 - only this command needs the sinks

    raise typer.Exit(run_check(Options(destination, settings, config, reading=reading, as_json=as_json)))


@cli.command()
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
        from logferry.cli.verify.window import Window  # noqa: PLC0415

    window = Window(since=_time("--since", since), until=_time("--until", until))
    options = Options(
        selection=Selection(function, window),
        run=run,
        grace=_age("--grace", grace),
        delete_proven=delete_proven,
        delete_grace=_age("--delete-grace", delete_grace),
    )
    raise typer.Exit(run_compact(destination, options, as_json=as_json, yes=yes))


@cli.command()
def cost(  # noqa: PLR0917 - typer reads options from the signature
    invocations_per_day: Annotated[
        int, typer.Option(metavar="N", min=1, max=10**9, help="invocations per day", show_default=False)
    ],
    lines: Annotated[int, typer.Option(metavar="N", min=0, max=10**6, help="log lines per invocation")],
    memory: Annotated[int, typer.Option(metavar="N", min=128, max=10_240, help="memory of the function in MB")],
    bytes_per_line: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="average line size in bytes (default 200)")
    ] = None,
    bytes_: Annotated[
        int | None,
        typer.Option("--bytes", metavar="N", min=0, help="log bytes per invocation, instead of --bytes-per-line"),
    ] = None,
    duration_ms: Annotated[
        float, typer.Option(metavar="N", min=1, max=900_000, help="average duration of an invocation")
    ] = 100,
    architecture: Annotated[Literal["x86_64", "arm64"], typer.Option(help="processor of the function")] = "x86_64",
    environments: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=10**6, help="concurrent environments (default: invocation rate times duration)"
        ),
    ] = None,
    retention_days: Annotated[int, typer.Option(metavar="N", min=1, max=36_500, help="days that logs are kept")] = 30,
    flush_seconds: Annotated[str | None, typer.Option(help="maximum age of a record", metavar="N")] = None,
    flush_bytes: Annotated[str | None, typer.Option(help="maximum pending bytes, such as 4MiB", metavar="SIZE")] = None,
    flush_invocations: Annotated[str | None, typer.Option(help="invocations per object", metavar="N")] = None,
    timing: Annotated[
        Literal["post-execution", "next-invocation"] | None,
        typer.Option(help="post-execution or next-invocation (default: both)", metavar="TIMING"),
    ] = None,
    put_ms: Annotated[float, typer.Option(metavar="N", min=0, max=60_000, help="time of S3 for a small object")] = 25,
    lifetime_hours: Annotated[
        float, typer.Option(metavar="N", min=0.1, max=24, help="lifetime of a busy environment")
    ] = 2,
    idle_minutes: Annotated[
        float, typer.Option(metavar="N", min=0, max=1440, help="lifetime of an environment without invocations")
    ] = 10,
    prices: Annotated[Path | None, typer.Option(help="TOML file with other prices", metavar="FILE")] = None,
    config: Annotated[
        Path | None, typer.Option(help="LOGFERRY_CONFIG: file with settings, for thresholds and spool", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Estimate the monthly cost of each flush policy and of AWS's log destinations for a function.

    The output states the maximum delay of a record, assumptions and price sources.

    The --flush options and --timing have the meaning of the LOGFERRY_FLUSH settings, and replace those of --config.
    """
    from logferry.cli.cost import report  # noqa: PLC0415 - only this command needs prices

    thresholds = {"SECONDS": flush_seconds, "BYTES": flush_bytes, "INVOCATIONS": flush_invocations}
    request = report.CostRequest(
        invocations_per_day=invocations_per_day,
        lines=lines,
        bytes_per_line=bytes_per_line,
        size=bytes_,
        memory_mb=memory,
        duration_ms=duration_ms,
        architecture=architecture,
        environments=environments,
        retention_days=retention_days,
        lifetime_hours=lifetime_hours,
        idle_minutes=idle_minutes,
        put_ms=put_ms,
        timing=timing,
        settings={
            **_config_variable(config),
            **{f"LOGFERRY_FLUSH_{name}": text for name, text in thresholds.items() if text is not None},
        },
        prices=prices,
    )
    try:
        report.run_cost(request, as_json=as_json)
    except report.UsageError as error:
        raise typer.BadParameter(str(error)) from error


@cli.command()
def emulate(  # noqa: PLR0917 - typer reads options from the signature
    function: Annotated[
        str, typer.Argument(help="command of the function, such as 'python -m awslambdaric app.handler'")
    ],
    event: Annotated[
        list[str] | None, typer.Option(help="event, a JSON object (repeatable, default: {})", metavar="JSON")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="file with one event per line, instead of --event", metavar="FILE")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="repetitions of the events")] = 1,
    interval: Annotated[
        float, typer.Option(metavar="N", min=0, help="seconds between invocations; the environment is frozen meanwhile")
    ] = 0.0,
    destination: Annotated[
        str,
        typer.Option(
            help="s3://bucket/prefix or file:///directory (default: that of --config, else a temporary directory)"
        ),
    ] = "",
    flush: Annotated[
        str, typer.Option(help="LOGFERRY_FLUSH: invocation, time, size or adaptive (default: adaptive)")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="LOGFERRY_CONFIG: file with settings of the extension", metavar="FILE")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="environment variable of function and extension", metavar="NAME=VALUE"),
    ] = None,
    handler: Annotated[str, typer.Option(help="value of _HANDLER")] = "app.handler",
    timeout: Annotated[float, typer.Option(metavar="N", min=0.1, help="timeout of the function in seconds")] = 3.0,
    mode: Annotated[
        Literal["on-demand", "provisioned-concurrency", "lambda-managed-instances"],
        typer.Option(help="initialization type of the environment", metavar="MODE"),
    ] = "on-demand",
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, help="concurrent invocations on Managed Instances")
    ] = 1,
    log_format: Annotated[Literal["Text", "JSON"], typer.Option(help="log format of the function")] = "Text",
    launcher: Annotated[str, typer.Option(help="command that starts the extension, such as a built layer's")] = "",
) -> None:
    """Run a function with logferry in a local Lambda environment and print what happens.

    The exit status is 0 if all invocations succeeded and all records were stored.
    """
    from logferry.cli.emulate import session as emulation  # noqa: PLC0415 - only this command needs the emulator

    with tempfile.TemporaryDirectory(prefix="logferry-emulate-") as folder:
        session = emulation.Session(
            function=shlex.split(function),
            events=_events(event or [], events) * count,
            environment={
                "LOGFERRY_DESTINATION": destination or _destination_in(config) or f"file://{folder}/objects",
                "LOGFERRY_FLUSH": flush,
                **_config_variable(config),
                **emulation.aws_variables(),
                **dict(_pair(text) for text in setting or []),
            },
            working_directory=Path.cwd(),
            interval_seconds=interval,
            timeout_seconds=timeout,
            handler=handler,
            log_format=log_format,
            initialization_type=mode,
            concurrency=concurrency,
            launcher=shlex.split(launcher) or argv(),
        )
        status = asyncio.run(emulation.emulate(Console(), session, folder=Path(folder)))
    raise typer.Exit(status)


read_commands.add_to(cli)


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def layer(context: typer.Context) -> None:
    """Build the Lambda layer with everything that logferry needs, for any runtime."""
    with reporting_missing_extra("layer"):
        from logferry.layer.command import app  # noqa: PLC0415 - only this command needs the layer's libraries

    app(args=context.args, prog_name="logferry layer")


def _config_variable(path: Path | None) -> dict[str, str]:
    """Return the variable for a configuration file, whose path is absolute."""
    return {"LOGFERRY_CONFIG": str(path.absolute())} if path else {}


def _destination_in(path: Path | None) -> str:
    """Return the destination in a configuration file, or an empty string. The extension reports all mistakes in it."""
    if not path:
        return ""
    from logferry.config_file import ConfigFile  # noqa: PLC0415 - only this command needs the text
    from logferry.settings import REFERENCE_MARKS  # noqa: PLC0415

    found = ConfigFile(str(path.absolute())).texts.get("DESTINATION", "")
    if found.startswith(REFERENCE_MARKS):
        raise typer.BadParameter(
            f"the destination in {path} is the reference {found}: give the destination of this run",
            param_hint="--destination",
        )
    return found


def _events(given: list[str], file: Path | None) -> list[dict[str, Any]]:
    """Return the events of the options, each a JSON object."""
    if given and file:
        raise typer.BadParameter("--event and --events exclude each other: give one of them", param_hint="--events")
    lines = _event_lines(file) if file else given or ["{}"]
    found = []
    for number, line in enumerate(lines, 1):
        try:
            parsed = json.loads(line)
        except ValueError as error:
            raise typer.BadParameter(f"event {number} is not JSON: {error}", param_hint="--event") from error
        if not isinstance(parsed, dict):
            raise typer.BadParameter(f"event {number} is not a JSON object", param_hint="--event")
        found.append(parsed)
    return found


def _event_lines(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}", param_hint="--events") from error
    if not lines:
        raise typer.BadParameter(f"{file} has no events: write one JSON object per line", param_hint="--events")
    return lines


def _time(option: str, text: str | None) -> datetime | None:
    from logferry.cli.verify.window import parse_time  # noqa: PLC0415

    try:
        return None if text is None else parse_time(text, now=datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error


def _age(option: str, text: str) -> timedelta:
    from logferry.cli.verify.window import parse_age  # noqa: PLC0415

    try:
        return parse_age(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    return name, value
