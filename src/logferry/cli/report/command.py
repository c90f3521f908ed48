"""The command `logferry report`: fetch, collect, write the page, the trace or the JSON.

Guarantees:
- The exit status is 0 if everything was written, and 2 if the destination cannot be read or has no records.
- The status does not depend on faults: `logferry verify` is the command for that.
- Output files are complete or unchanged. Messages are on stderr, so that stdout has only the JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from logferry.cli.console import counted, progress
from logferry.cli.fetch.fetch import Dialogue, fetch
from logferry.cli.query.session import Session
from logferry.cli.report import fault_places
from logferry.cli.report.atomic_file import replacing
from logferry.cli.report.collect import collect
from logferry.cli.report.page import page
from logferry.cli.report.perfetto import write_trace
from logferry.cli.report.view_model import Subject, view_model
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.cli.fetch.fetch import Fetched
    from logferry.cli.fetch.selection import Selection

DEFAULT_OUTPUT = Path("report.html")


@dataclass(frozen=True)
class ReportRequest:
    """The options of the command."""

    destination: str
    selection: Selection
    output: Path | None = None
    perfetto: Path | None = None
    as_json: bool = False
    confirm: Callable[[str], bool] | None = None
    """Function that asks before an expensive read. None means that such a read is an error."""

    @property
    def page(self) -> Path | None:
        """The file of the page. Without any option for the output it has a default name."""
        is_only_output = not (self.perfetto or self.as_json)
        return self.output or (DEFAULT_OUTPUT if is_only_output else None)


def run_report(request: ReportRequest, console: Console | None = None) -> int:
    """Write what a request names, and return the exit status."""
    console = console or Console(stderr=True)
    try:
        for sentence in make_report(request, console):
            console.print(Text(sentence), soft_wrap=True)
    except (DestinationError, OSError) as error:
        console.print(Text(_message(error), style="bold red"), soft_wrap=True)
        return 2
    return 0


def make_report(request: ReportRequest, console: Console) -> list[str]:
    """Write what a request names, and return sentences about it. Raise DestinationError or OSError."""
    for path in filter(None, (request.page, request.perfetto)):
        _check_writable(path)
    with progress(console, "reading objects") as update:
        fetched = fetch(request.destination, request.selection, dialogue=Dialogue(request.confirm, fetched=update))
    with Session(fetched) as session:
        found = collect(session, request.selection)
        if found is None:
            raise DestinationError(_nothing(request, session))
        model = view_model(_subject(request, fetched), found)
        sentences = [_summary(model)]
        if request.as_json:
            print(json.dumps(model, indent=2))
        if request.perfetto:
            places = fault_places.placed(found.faults, found.rows["neighbours"])
            with replacing(request.perfetto) as file:
                events = write_trace(session.connection, places, file)
            sentences.append(f"Wrote {request.perfetto} with {counted(events, 'event')}: open it in ui.perfetto.dev.")
        if request.page:
            with replacing(request.page) as file:
                file.write(page(model))
            sentences.append(
                f"Wrote {request.page} ({request.page.stat().st_size / 1000:,.0f} kB): open it in a browser."
            )
    return [*sentences, f"Read: {fetched.usage}."]


def _check_writable(path: Path) -> None:
    """Raise OSError for a path that cannot be written, before anything is read."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory, give the name of a file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the directory {path.absolute().parent} does not exist, create it first"
        )


def _subject(request: ReportRequest, fetched: Fetched) -> Subject:
    window = request.selection.window
    since, until = (None if at is None else round(at.timestamp() * 1000) for at in (window.since, window.until))
    return Subject(
        destination=request.destination,
        function=None if request.selection.function == "*" else request.selection.function,
        since_ms=since,
        until_ms=until,
        made_ms=round(time.time() * 1000),
        version=metadata.version("logferry"),
        read=f"Read: {fetched.usage}.",
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
