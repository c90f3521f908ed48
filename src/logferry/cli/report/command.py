"""The command `logferry report`: fetch, collect, write the page, the trace or the JSON.

Guarantees:
- The exit status is 0 if everything was written, and 2 if a file cannot be written.
- The status does not depend on faults: `logferry verify` is the command for that.
- Output files are complete or unchanged. Messages are on stderr, so that stdout has only the JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logferry.cli.console import counted
from logferry.cli.fetch import terminal
from logferry.cli.query.session import Session
from logferry.cli.report import fault_places
from logferry.cli.report.atomic_file import replacing
from logferry.cli.report.collect import collect
from logferry.cli.report.page import page
from logferry.cli.report.perfetto import write_trace
from logferry.cli.report.view_model import Subject, view_model
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from logferry.cli.fetch.selection import Selection
    from logferry.cli.report.collect import Collected

DEFAULT_OUTPUT = Path("report.html")
FAILED = 2


@dataclass(frozen=True)
class ReportRequest:
    """The options of the command."""

    destination: str
    selection: Selection
    output: Path | None = None
    perfetto: Path | None = None
    as_json: bool = False
    yes: bool = False
    fallback: str = ""

    @property
    def page(self) -> Path | None:
        """The file of the page. Without any option for the output it has a default name."""
        is_only_output = not (self.perfetto or self.as_json)
        return self.output or (DEFAULT_OUTPUT if is_only_output else None)


def report(request: ReportRequest) -> int:
    """Write what a request names, and return the exit status. Raise DestinationError."""
    try:
        for path in filter(None, (request.page, request.perfetto)):
            _check_writable(path)
        for sentence in write(request):
            terminal.error_console().print(sentence, markup=False)
    except OSError as error:
        terminal.error_console().print(_message(error), style="red", markup=False)
        return FAILED
    return 0


def write(request: ReportRequest) -> list[str]:
    """Write what a request names, and return sentences about it. Raise DestinationError or OSError."""
    started = time.monotonic()
    fetched = terminal.read(request.destination, request.selection, yes=request.yes, fallback=request.fallback)
    with Session(fetched) as session:
        found = collect(session, request.selection)
        seconds = time.monotonic() - started
        terminal.show_usage(fetched, seconds, session.unreadable)
        if found is None:
            raise DestinationError(_nothing(request, session))
        model = view_model(_subject(request, terminal.usage_line(fetched, seconds)), found)
        sentences = [_summary(model)]
        if request.as_json:
            sys.stdout.write(json.dumps(model, indent=2) + "\n")
        if request.perfetto:
            events = _write_trace(session, found, request.perfetto)
            sentences.append(f"Wrote {request.perfetto} with {counted(events, 'event')}: open it in ui.perfetto.dev.")
        if request.page:
            with replacing(request.page) as file:
                file.write(page(model))
            size = terminal.size_text(request.page.stat().st_size)
            sentences.append(f"Wrote {request.page} ({size}): open it in a browser.")
    return sentences


def _write_trace(session: Session, found: Collected, path: Path) -> int:
    places = fault_places.placed(found.faults, found.rows["neighbours"])
    with replacing(path) as file:
        return write_trace(session.connection, places, file)


def _check_writable(path: Path) -> None:
    """Raise OSError for a path that cannot be written, before anything is read."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory, give the name of a file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the directory {path.absolute().parent} does not exist, create it first"
        )


def _subject(request: ReportRequest, read: str) -> Subject:
    window = request.selection.window
    since, until = (None if at is None else round(at.timestamp() * 1000) for at in (window.since, window.until))
    return Subject(
        destination=request.destination,
        function=None if request.selection.function == "*" else request.selection.function,
        since_ms=since,
        until_ms=until,
        made_ms=round(time.time() * 1000),
        version=metadata.version("logferry"),
        read=f"Read: {read}.",
    )


def _summary(model: dict[str, Any]) -> str:
    totals, proof = model["totals"], model["proof"]
    verdicts = {
        "complete": "COMPLETE: no missing and no duplicate records",
        "incomplete": f"INCOMPLETE: {counted(proof['faults'], 'fault')}",
        "unreadable": f"UNREADABLE: {counted(proof['unreadable'], 'object')}",
    }
    held = (counted(totals[name], name.removesuffix("s")) for name in ("invocations", "objects", "environments"))
    return f"{verdicts[proof['result']]} ({', '.join(held)})."


def _nothing(request: ReportRequest, session: Session) -> str:
    if session.unreadable:
        key, reason = session.unreadable[0]
        return f"{request.destination} has no readable object: {key}: {reason}"
    limits = request.selection.window.is_limited or request.selection.function != "*"
    remedy = "use other limits (--function, --since, --until)" if limits else "check the prefix of LOGFERRY_DESTINATION"
    return f"{request.destination} has no records{' within the limits' if limits else ''}: {remedy}"


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write {error.filename or 'the output'}: {error.strerror}"
    return str(error)
