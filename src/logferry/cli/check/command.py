"""The run of `logferry check`: settings, then the checks of the destination's kind.

Guarantees: the exit status is the verdict.
- 0: logferry can store objects; warnings and skipped steps are shown.
- 1: a step has failed, and its remedy is shown.
- 2: there is nothing to check, because a file cannot be read.
- 130: Ctrl-C.

Design: the AWS SDK reads the variables of the process. So the variables of a file are set for the time of the check.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from logferry import log
from logferry.aws.variable_names import renamed
from logferry.cli.check import output, settings_source
from logferry.cli.check.context import Checks, Context
from logferry.cli.check.result import Report, Step
from logferry.cli.check.settings_step import check_settings
from logferry.destination import shown, url_of
from logferry.settings import PREFIX
from logferry.shipper.upload_target import FALLBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from logferry.cli.check.settings_source import SettingsSource
    from logferry.settings import Settings

CHECKS = {
    "s3": ("logferry.cli.check.s3_checks", "s3_steps"),
    "firehose": ("logferry.cli.check.firehose_checks", "firehose_steps"),
    "http": ("logferry.cli.check.receiver_checks", "receiver_steps"),
    "https": ("logferry.cli.check.receiver_checks", "receiver_steps"),
    "file": ("logferry.cli.check.directory_checks", "directory_steps"),
}
"""Module and function with the checks of each scheme."""
_ROUTES = {
    "s3": "the VPC needs an S3 gateway endpoint or another route to S3; its policy must allow s3:PutObject",
    "firehose": "the VPC needs an endpoint for Firehose or another route to it; its policy must allow "
    "firehose:PutRecordBatch",
    "http": "the VPC needs a route to the receiver",
    "https": "the VPC needs a route to the receiver, for example a NAT gateway",
}
"""Requirement on the network of a VPC for each scheme. A directory needs no network."""
NOT_CHECKED, INTERRUPTED = 2, 130
_RESOLVER = "timeout:1 attempts:2"
"""Limits of the C library's resolver. Without them, a silent name server delays the end of the process by 10 s."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    destination: str = ""
    settings: str = ""
    """Path of the file with the settings, `-` for stdin, or an empty string for the environment."""
    config: Path | None = None
    """File that replaces that of LOGFERRY_CONFIG."""
    reading: bool = False
    as_json: bool = False


def run_check(options: Options) -> int:
    """Check, print the result, and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    try:
        source = _source(options, os.environ)
    except settings_source.SourceError as error:
        Console(stderr=True).print(Text(str(error)), soft_wrap=True)
        return NOT_CHECKED
    report = Report(shown(source.environ.get(f"{PREFIX}DESTINATION", "")), source.origin)
    show = _nothing if options.as_json else lambda step: output.show_step(console, step)
    try:
        with _applied(source.environ):
            log.configure(level="error", as_json=False)  # the steps show what a sink logs
            asyncio.run(_check(source, options, report, show))
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        return INTERRUPTED
    if options.as_json:
        sys.stdout.write(json.dumps(report.as_values(), indent=2) + "\n")
    else:
        console.print(output.verdict(report), soft_wrap=True)
    return report.exit_status


def _source(options: Options, environ: Mapping[str, str]) -> SettingsSource:
    source = (
        settings_source.from_file(options.settings, environ)
        if options.settings
        else settings_source.from_environment(environ)
    )
    if options.config:
        source.environ[f"{PREFIX}CONFIG"] = str(options.config.absolute())
    if options.destination:
        source.environ[f"{PREFIX}DESTINATION"] = options.destination
    return source


async def _check(source: SettingsSource, options: Options, report: Report, show: Callable[[Step], None]) -> None:
    """Make all steps. Add each one to the report, and show it."""
    async for step in _steps(source, options, report):
        report.steps.append(step)
        show(step)


async def _steps(source: SettingsSource, options: Options, report: Report) -> AsyncIterator[Step]:
    step, settings = check_settings(source)
    yield step
    if settings and settings.references:
        from logferry.cli.check.references_step import resolve_references  # noqa: PLC0415 - most settings have none

        step, settings = await resolve_references(settings, settings.references, source.environ)
        yield step
    if settings is None:
        return
    report.destination = url_of(settings.destination)
    if source.function and source.function.is_in_vpc and (remedy := _ROUTES.get(settings.destination.scheme)):
        event = "the function is in a VPC, whose network is not that of this machine"
        yield Step("network", "warning", event, remedy=remedy)
    context = Context(settings, source.environ, source.function, reading=options.reading)
    async for step in _checks_of(settings)(context):
        yield step
    if settings.fallback:
        settings = settings._replace(destination=settings.fallback.destination)
        yield Step("fallback", "ok", url_of(settings.destination))
        async for step in _checks_of(settings)(replace(context, settings=settings)):
            detail, remedy = (renamed(text, FALLBACK_NAMES) for text in (step.detail, step.remedy))
            yield replace(step, name=f"fallback {step.name}", detail=detail, remedy=remedy)


def _checks_of(settings: Settings) -> Checks:
    module, function = CHECKS[settings.destination.scheme]
    checks: Checks = getattr(import_module(module), function)
    return checks


def _nothing(_: Step) -> None:
    """Show nothing."""


@contextlib.contextmanager
def _applied(environ: Mapping[str, str]) -> Iterator[None]:
    """Set the variables of this process, and restore them at the end."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({"RES_OPTIONS": _RESOLVER, **environ})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
