"""Verification that needs an event loop: a bucket, the names of a destination, or two destinations."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.prompt import Confirm

from logferry.cli.console import error_progress
from logferry.cli.verify.names import verify_names
from logferry.cli.verify.verification import verify
from logferry.cli.verify.window import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.cli.verify.completeness import Report
    from logferry.cli.verify.options import Options


def verify_with_event_loop(destination: str, options: Options) -> Report:
    """Verify a bucket, names, or two destinations, with progress on stderr. Raise DestinationError."""
    with error_progress("reading names" if options.names_only else "reading objects") as update:
        return asyncio.run(_verify(destination, options, update))


async def _verify(destination: str, options: Options, update: Callable[[int, int], None]) -> Report:
    window = options.window or EVERYTHING
    if options.names_only:
        return await verify_names(
            destination, window, function=options.function, fallback=options.fallback, update=update
        )
    confirm = (lambda _question: True) if options.yes else None
    if confirm is None and sys.stderr.isatty() and sys.stdin.isatty():
        confirm = _confirmed
    return await verify(
        destination,
        window,
        function=options.function,
        state=options.state,
        fallback=options.fallback,
        confirm=confirm,
        update=update,
    )


def _confirmed(question: str) -> bool:
    return Confirm.ask(question, default=False, console=Console(stderr=True))
