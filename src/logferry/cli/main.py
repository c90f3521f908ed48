"""The command line. Its libraries stay out of the extension's processes: `run` replaces this process."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from logferry.cli import run as extension
from logferry.layer.command import app as layer

cli = typer.Typer(
    help="logferry ships every log record of an AWS Lambda function to S3, and can be tried on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


cli.add_typer(layer, name="layer")


@cli.command()
def run() -> None:
    """Become the extension (what the layer's launcher does): needs a Lambda environment around it."""
    extension.run()


@cli.command()
def demo() -> None:
    """Run a sample function with logferry against a real S3 server on loopback, and show what arrived."""
    from logferry.cli.demo import demo as show  # noqa: PLC0415 - only this command needs the S3 server

    raise typer.Exit(asyncio.run(show(Console())))


@cli.command()
def verify(destination: Annotated[str, typer.Argument(help="s3://bucket/prefix or file:///directory")]) -> None:
    """Read a destination back and prove that nothing is missing and nothing is there twice (status 0, else 1 or 2)."""
    from logferry.cli.verify import run_verify  # noqa: PLC0415 - only this command reads S3

    raise typer.Exit(run_verify(destination))


@cli.command()
def emulate(  # noqa: PLR0917 - typer reads options from the signature
    function: Annotated[
        str, typer.Argument(help="the function's command, as in 'python -m awslambdaric app.handler' or './bootstrap'")
    ],
    event: Annotated[str, typer.Option(help="the event, a JSON object")] = "{}",
    events: Annotated[Path | None, typer.Option(help="a file with an event on each line, instead of --event")] = None,
    count: Annotated[int, typer.Option(min=1, help="how often the events are sent")] = 1,
    interval: Annotated[float, typer.Option(min=0, help="seconds between invocations, frozen")] = 0.0,
    destination: Annotated[str, typer.Option(help="s3://bucket/prefix, or file:///directory")] = "",
    flush: Annotated[str, typer.Option(help="invocation, time, size or adaptive")] = "adaptive",
    setting: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for function and extension")] = None,
    handler: Annotated[str, typer.Option(help="the value of _HANDLER")] = "app.handler",
    timeout: Annotated[float, typer.Option(min=0.1, help="the function's timeout in seconds")] = 3.0,
    mode: Annotated[
        str, typer.Option(help="on-demand, provisioned-concurrency or lambda-managed-instances")
    ] = "on-demand",
    concurrency: Annotated[int, typer.Option(min=1, help="of Managed Instances")] = 1,
    log_format: Annotated[str, typer.Option(help="Text or JSON")] = "Text",
    launcher: Annotated[str, typer.Option(help="another way to start the extension, as a built layer's")] = "",
) -> None:
    """Run a function with logferry in a local Lambda; print the timeline and a summary.

    The exit status is 0 when every invocation succeeded and every record was delivered.
    """
    from logferry.cli import emulation  # noqa: PLC0415 - only this command needs the emulator

    if mode not in emulation.MODES:
        raise typer.BadParameter(f"{mode!r}: choose one of {', '.join(emulation.MODES)}", param_hint="--mode")
    with tempfile.TemporaryDirectory(prefix="logferry-emulate-") as folder:
        session = emulation.Session(
            function=shlex.split(function),
            events=_events(event, events) * count,
            environment={
                "LOGFERRY_DESTINATION": destination or f"file://{folder}/objects",
                "LOGFERRY_FLUSH": flush,
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
            launcher=shlex.split(launcher) or extension.argv(),
        )
        status = asyncio.run(emulation.emulate(Console(), session, folder=Path(folder)))
    raise typer.Exit(status)


def _events(event: str, file: Path | None) -> list[dict[str, Any]]:
    """The events of the options, each a JSON object."""
    lines = [line for line in file.read_text().splitlines() if line.strip()] if file else [event]
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


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    return name, value


def main() -> None:
    """The console script."""
    cli()
