"""The console script: it starts the extension (`run`) or imports the other commands.

Guarantees:
- `logferry run` imports neither the command line nor its libraries, and needs no extra.
- `logferry verify` with plain options does not import typer.
- If a library is missing, the message names the extra that installs it.
- A closed stdout or stderr, as some schedulers provide it, changes no exit status.
"""

from __future__ import annotations

import gc
import os
import sys

from logferry.cli import run


def main() -> None:
    """Run the command in `sys.argv`."""
    if sys.argv[1:] == ["run"]:
        run.run()
    _open_closed_streams()
    from logferry.cli.extras import MissingExtraError, reporting_missing_extra  # noqa: PLC0415 - not for `run`

    try:
        with reporting_missing_extra(sys.argv[1] if len(sys.argv) > 1 else ""):
            if sys.argv[1:2] == ["verify"]:
                _verify(sys.argv[2:])
            from logferry.cli.commands import cli  # noqa: PLC0415 - only these commands need typer and rich

            cli()
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _open_closed_streams() -> None:
    """Replace a stream whose descriptor is closed: Python has None for it, which no command expects."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end


def _verify(arguments: list[str]) -> None:
    """Run the command and exit, or return if typer has to read the arguments."""
    from logferry.cli.verify.arguments import plain_arguments  # noqa: PLC0415 - only for this command
    from logferry.cli.verify.command import run_verify  # noqa: PLC0415

    plain = plain_arguments(arguments)
    if plain is None:
        return
    # The same as typer does: Ctrl-C and a closed pipe are no fault of the program.
    try:
        status = run_verify(*plain)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("Aborted.\n")
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    gc.freeze()  # the collections at the end of the process would take 8 ms
    sys.exit(status)
