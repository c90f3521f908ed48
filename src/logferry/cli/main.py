"""The console script: it starts the extension (`run`) or imports the other commands.

Guarantees:
- `logferry run` imports neither the command line nor its libraries, and needs no extra.
- If a library is missing, the message names the extra that installs it.
"""

from __future__ import annotations

import sys

from logferry.cli import run


def main() -> None:
    """Run the command in `sys.argv`."""
    if sys.argv[1:] == ["run"]:
        run.run()
    from logferry.cli.extras import MissingExtraError, reporting_missing_extra  # noqa: PLC0415 - not for `run`

    try:
        with reporting_missing_extra(sys.argv[1] if len(sys.argv) > 1 else ""):
            from logferry.cli.commands import cli  # noqa: PLC0415 - only these commands need typer and rich

            cli()
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
