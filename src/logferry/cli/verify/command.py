"""The command `logferry verify`: it verifies a destination, prints the report, and returns the exit status.

Guarantees: the exit status is the verdict.
- 0: complete. No record is missing or duplicated, except for reported losses, which are shown.
- 1: incomplete. A record is missing or duplicated.
- 2: not verifiable. An object or the destination is unreadable, or there are no objects.

Design: stdout has only the report, and the progress bar is on stderr, if that is a terminal. The
libraries of the output are imported while other processes scan the objects.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from logferry import destination as destinations
from logferry.cli.verify.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logferry.cli.verify.completeness import Report


DEFAULTS = Options()


def run_verify(destination: str, options: Options = DEFAULTS) -> int:
    """Verify a destination, print the report, and return the exit status."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # keys and metadata can contain surrogates
    report, mistake = _verified(destination, options)
    if report is None:
        _show_mistake(mistake, sys.stderr if options.as_json else sys.stdout)
        return 2
    try:
        _print(report, as_json=options.as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to write at the end
        sys.stderr.write(f"cannot write the report: {error}; write it to another place\n")
        return 2
    return report.status


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        import json  # noqa: PLC0415 - imported during the scan, as the text of the report below

        sys.stdout.write(json.dumps(as_values(report), indent=2) + "\n")
    elif sys.stdout.isatty():
        from logferry.cli.verify.report import show  # noqa: PLC0415 - rich takes 60 ms to import

        show(report)
    else:
        from logferry.cli.verify.report_text import parts_of, plain_text  # noqa: PLC0415

        sys.stdout.write(plain_text(parts_of(report)))


def as_values(report: Report) -> dict[str, Any]:
    """Return the report as JSON values. Ranges are pairs of the first and the last segment."""
    environments = [
        {
            **each._asdict(),
            "missing_segments": [[gap[0], gap[-1]] for gap in each.missing_segments],
            "losses": [{**loss._asdict(), "segments": [loss.segments[0], loss.segments[-1]]} for loss in each.losses],
        }
        for each in report.environments
    ]
    return {
        "status": report.status,
        "objects": report.objects,
        "kept_segments": report.kept_segments,
        "names_only": report.names_only,
        "since": report.window.since_text,
        "until": report.window.until_text,
        "open": sum(not each.ended for each in report.environments),
        "unreadable": [{"key": key, "reason": reason} for key, reason in report.unreadable],
        "platform_lost": report.platform_lost._asdict(),
        "foreign": report.foreign,
        "fallback": report.fallback._asdict() if report.fallback else None,
        "environments": environments,
    }


def _show_mistake(sentence: str, stream: TextIO) -> None:
    """Print the sentence about a destination that cannot be read."""
    if not stream.isatty():
        stream.write(f"{sentence}\n")
        return
    from rich.console import Console  # noqa: PLC0415 - takes 60 ms to import
    from rich.text import Text  # noqa: PLC0415

    Console(file=stream).print(Text(sentence, style="bold red"), soft_wrap=True)


def _verified(destination: str, options: Options) -> tuple[Report | None, str]:
    """Return the report, or None and the sentence that names the mistake of the destination."""
    try:
        _check_fallback(destination, options.fallback)
        directory = _directory_of(destination)
        if directory is None or options.names_only or options.fallback:
            from logferry.cli.verify.bucket_command import verify_with_event_loop  # noqa: PLC0415 - asyncio

            return verify_with_event_loop(destination, options), ""
        from logferry.cli.verify.directory_verification import verify_directory  # noqa: PLC0415

        report = verify_directory(
            directory,
            options.window,
            function=options.function,
            state=options.state,
            progress=lambda: _progress(as_json=options.as_json),
        )
    except Exception as error:
        from logferry.cli.stored_objects import DestinationError  # noqa: PLC0415 - a second import costs nothing

        if not isinstance(error, DestinationError):
            raise
        return None, str(error)
    return report, ""


def _check_fallback(destination: str, fallback: str) -> None:
    """Raise DestinationError if both are one place, because each segment would be a copy of itself."""
    if not fallback:
        return
    from logferry.cli.stored_objects import DestinationError  # noqa: PLC0415 - imports of the fallback only
    from logferry.options.fallback import overlap  # noqa: PLC0415

    try:
        is_one_place = overlap(destinations.parse(destination), destinations.parse(fallback))
    except ValueError:
        return  # the readers report an invalid destination
    if is_one_place:
        message = "are the same place, or one contains the other: name the two destinations of the settings"
        raise DestinationError(f"{destination} and {fallback} {message}")


def _directory_of(destination: str) -> str | None:
    """Return the path of a `file://` destination, or None for any other text."""
    try:
        place = destinations.parse(destination)
    except ValueError:
        return None
    return place.path if place.scheme == "file" else None


@contextlib.contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that draws the progress. Import what prints the report, while other processes scan."""
    if as_json:
        import json  # noqa: PLC0415, F401 - `run_verify` uses it
    elif sys.stdout.isatty():
        import logferry.cli.verify.report  # noqa: PLC0415
    else:
        import logferry.cli.verify.report_text  # noqa: PLC0415, F401
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from logferry.cli.console import error_progress  # noqa: PLC0415

    with error_progress("reading objects") as update:
        yield update
