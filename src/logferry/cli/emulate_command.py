"""The command `logferry emulate` and its options."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from logferry.cli.config_option import config_variable, destination_in
from logferry.cli.run import argv


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
            help="s3://bucket/prefix, firehose://stream, https://host/path or file:///directory "
            "(default: that of --config, else a temporary directory)"
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
                "LOGFERRY_DESTINATION": destination or destination_in(config) or f"file://{folder}/objects",
                "LOGFERRY_FLUSH": flush,
                **config_variable(config),
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


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    return name, value
