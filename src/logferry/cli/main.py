"""The command line. Its libraries stay out of the extension's processes: `run` replaces this process."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

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
    from logferry.cli.verify.report import run_verify  # noqa: PLC0415 - only this command reads S3

    raise typer.Exit(run_verify(destination))


@cli.command()
def cost(  # noqa: PLR0917 - typer reads options from the signature
    invocations_per_day: Annotated[int, typer.Option(min=1, max=10**9)],
    lines: Annotated[int, typer.Option(min=0, max=10**6, help="that an invocation logs")],
    memory: Annotated[int, typer.Option(min=128, max=10_240, help="of the function, in MB")],
    bytes_per_line: Annotated[int | None, typer.Option(min=1, help="on average; 200 where nothing is said")] = None,
    bytes_: Annotated[
        int | None, typer.Option("--bytes", min=0, help="that an invocation logs, instead of --bytes-per-line")
    ] = None,
    duration_ms: Annotated[float, typer.Option(min=1, max=900_000, help="of an invocation, on average")] = 100,
    architecture: Annotated[Literal["x86_64", "arm64"], typer.Option()] = "x86_64",
    environments: Annotated[
        int | None, typer.Option(min=1, max=10**6, help="at a time; else as many as rate times duration needs")
    ] = None,
    retention_days: Annotated[int, typer.Option(min=1, max=36_500, help="how long logs are kept, wherever")] = 30,
    flush_seconds: Annotated[
        str | None, typer.Option(help="as LOGFERRY_FLUSH_SECONDS; caps the other policies")
    ] = None,
    flush_bytes: Annotated[str | None, typer.Option(help="as LOGFERRY_FLUSH_BYTES, as in 4MiB")] = None,
    flush_invocations: Annotated[str | None, typer.Option(help="as LOGFERRY_FLUSH_INVOCATIONS")] = None,
    timing: Annotated[
        Literal["post-execution", "next-invocation"] | None,
        typer.Option(help="as LOGFERRY_FLUSH_TIMING; else both, where they differ"),
    ] = None,
    put_ms: Annotated[float, typer.Option(min=0, max=60_000, help="that S3 takes for a small object")] = 25,
    life_hours: Annotated[float, typer.Option(min=0.1, max=24, help="that an environment in use lasts")] = 2,
    idle_minutes: Annotated[float, typer.Option(min=0, max=1440, help="that an idle environment lasts")] = 10,
    prices: Annotated[Path | None, typer.Option(help="a TOML file with other prices, as prices.toml")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
) -> None:
    """Say what a function's logs cost in a month under each policy, beside CloudWatch Logs and Lambda's own S3 logs."""
    from logferry.cli.cost import report as page  # noqa: PLC0415 - only this command knows prices

    thresholds = {"SECONDS": flush_seconds, "BYTES": flush_bytes, "INVOCATIONS": flush_invocations}
    asked = page.Asked(
        invocations_per_day=invocations_per_day,
        lines=lines,
        bytes_per_line=bytes_per_line,
        size=bytes_,
        memory_mb=memory,
        duration_ms=duration_ms,
        architecture=architecture,
        environments=environments,
        retention_days=retention_days,
        life_hours=life_hours,
        idle_minutes=idle_minutes,
        put_ms=put_ms,
        timing=timing,
        settings={f"LOGFERRY_FLUSH_{name}": text for name, text in thresholds.items() if text is not None},
        prices=prices,
    )
    try:
        page.run_cost(asked, as_json=as_json)
    except page.Mistaken as error:
        raise typer.BadParameter(str(error)) from error


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
    from logferry.cli.emulate import session as emulation  # noqa: PLC0415 - only this command needs the emulator

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
