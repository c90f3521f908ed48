"""The command `logferry cost` and its options."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signature at run time
from typing import Annotated, Literal

import typer

from logferry.cli.config_option import config_variable


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
            **config_variable(config),
            **{f"LOGFERRY_FLUSH_{name}": text for name, text in thresholds.items() if text is not None},
        },
        prices=prices,
    )
    try:
        report.run_cost(request, as_json=as_json)
    except report.UsageError as error:
        raise typer.BadParameter(str(error)) from error
