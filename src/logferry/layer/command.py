"""The command `logferry layer build`.

Design: the command prints the size of each part after a build, because growth is not visible
otherwise. Lambda unpacks every megabyte of a layer in a cold start.
"""

import platform
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from logferry.layer.architecture import ARCHITECTURES
from logferry.layer.build import LayerReport, build_layer, size_limits
from logferry.layer.hook_interpreters import VERSIONS
from logferry.layer.subprocesses import LayerError

app = typer.Typer(
    no_args_is_help=True,
    help="Build the Lambda layer, which contains all dependencies of logferry and works with any runtime.",
)

_SHOWN_PARTS = 15
"""Number of parts that have a line in the table. The last line has the sum of the smaller parts."""
_MEGABYTE = 1_000_000


class Arch(StrEnum):
    """Lambda's architectures."""

    X86_64 = "x86_64"
    ARM64 = "arm64"


_NATIVE = next((Arch(arch.name) for arch in ARCHITECTURES.values() if arch.gnu == platform.machine()), Arch.X86_64)


@app.callback()
def _layer() -> None:
    """Keep `build` a named subcommand: typer omits the name if an application has one command."""


@app.command()
def build(
    output: Annotated[Path, typer.Option(help="Folder for the tree (opt/) and the zip file.")],
    arch: Annotated[Arch, typer.Option(help="Architecture of the function.")] = _NATIVE,
    interpreter: Annotated[
        Path | None, typer.Option(help="Prefix of a CPython 3.13 or newer to include instead of Debian's.")
    ] = None,
    hook_python: Annotated[
        list[Path] | None,
        typer.Option(help="Python program that compiles the hook for functions of its version; repeatable."),
    ] = None,
    slim: Annotated[
        bool,
        typer.Option(
            "--slim",
            help="Leave out the AWS SDK, RE2 and zstd. A proxy, S3 Express, an ARN or a pattern needs the full layer.",
        ),
    ] = False,
) -> None:
    """Build the /opt tree, and its zip file for `aws lambda publish-layer-version`."""
    console = Console()
    try:
        report = build_layer(
            output=output,
            arch=arch.value,
            slim=slim,
            interpreter=interpreter,
            hook_pythons=hook_python or (),
            report_step=lambda step: console.print(f"· {step}"),
        )
    except LayerError as error:
        Console(stderr=True).print(f"the layer was not built: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error
    console.print(_table(report))
    console.print(_hook_text(report), soft_wrap=True, highlight=False)
    console.print(f"{report.archive}\nsha256 {report.sha256}", soft_wrap=True, highlight=False)


def _hook_text(report: LayerReport) -> str:
    """Return the versions of Python for which the hook has bytecode, and the consequence and the remedy for others."""
    text = f"Python hook: bytecode for {', '.join(report.hook_versions)}"
    missing = [version for version in VERSIONS if version not in report.hook_versions]
    if not missing:
        return text
    return (
        f"{text}\nwarning: functions of Python {', '.join(missing)} with LOGFERRY_CALLS compile the hook at each cold "
        f"start (2 to 7 ms); put python{missing[0]} on PATH, or name it with --hook-python, and build again"
    )


def _table(report: LayerReport) -> Table:
    """Return the table of a report: the largest parts, the rest in one line, and the sums with their limits."""
    kind = "slim layer" if report.slim else "layer"
    limits = size_limits(slim=report.slim)
    table = Table(title=f"logferry {kind}, {report.arch}, Python {report.python}", show_footer=False)
    table.add_column("part")
    table.add_column("MB", justify="right")
    for name, size in report.parts[:_SHOWN_PARTS]:
        table.add_row(name, f"{size / _MEGABYTE:.2f}")
    rest = report.parts[_SHOWN_PARTS:]
    if rest:
        table.add_row(f"{len(rest)} smaller parts", f"{sum(size for _, size in rest) / _MEGABYTE:.2f}")
    table.add_section()
    table.add_row(
        f"unzipped, {report.files} files (limit {limits.tree / _MEGABYTE:.1f})",
        f"{report.tree_bytes / _MEGABYTE:.2f}",
    )
    table.add_row(f"zip (limit {limits.archive / _MEGABYTE:.1f})", f"{report.archive_bytes / _MEGABYTE:.2f}")
    return table
