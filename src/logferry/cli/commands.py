"""The command line with all commands, in the order of the help. Each command imports its libraries when it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from logferry.cli import proof_commands, read_commands
from logferry.cli.check_command import check
from logferry.cli.cost_command import cost
from logferry.cli.emulate_command import emulate
from logferry.cli.extras import reporting_missing_extra, require_programs
from logferry.cli.run import run as run_extension

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version  # noqa: PLC0415 - only this option needs it

        typer.echo(f"logferry {version('logferry')}")
        raise typer.Exit


@cli.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version and exit")
    ] = False,
) -> None:
    """Ship every log record of an AWS Lambda function to S3. These commands run and check it on this machine."""
    del version


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


cli.command()(check)
proof_commands.add_to(cli)
cli.command()(cost)
cli.command()(emulate)
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
