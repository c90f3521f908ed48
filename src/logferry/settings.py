"""The settings: one table, which the parser, the README and config/ are checked against.

Guarantees:
- Each setting is one environment variable with the prefix LOGFERRY_. An empty value counts as not
  set.
- All mistakes are reported at once, each once and with its remedy.
- A value that the supervisor reads too has one parser for both processes (`values`).

Design: durations are seconds, sizes are bytes (with the units `KiB` and `MiB`). The AWS variables
(region, credentials, AWS_ENDPOINT_URL_S3, proxies) keep their meaning. `settings_validation` has
the rules that need several values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry import destination, values
from logferry.errors import SettingsError
from logferry.flush.policy import DEFAULT_BYTES, DEFAULT_INVOCATIONS, DEFAULT_SECONDS, Flush, Policy, Thresholds, Timing
from logferry.records import object_key
from logferry.settings_validation import aws_mistakes, contradictions, key_mistakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logferry.destination import Destination

PREFIX = "LOGFERRY_"
KIB, MIB = 1024, 1024 * 1024
_SIZE = re.compile(r"(\d{1,15})\s*(|B|KiB|MiB|GiB)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB}
_DIGITS = 15
"""Maximum number of digits of a number. `int` rejects more than 4,300 digits with an error without
a remedy."""


class Setting(NamedTuple):
    """One row of the table. `name` has no prefix."""

    name: str
    default: str
    range: str
    meaning: str
    parse: Callable[[str], Any]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if len(text) <= _DIGITS and text.isascii() and text.isdigit() else -1
        if not low <= value <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return value

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"use seconds from {low:g} to {high:g}")
        return value

    return parse


def _size(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text)
        value = int(match[1]) * _UNITS[match[2].lower()] if match else -1
        if not low <= value <= high:
            raise ValueError(f"use a size from {_human(low)} to {_human(high)}, such as 1048576, 1024KiB or 1MiB")
        return value

    return parse


def _human(size: int) -> str:
    for unit, factor in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return text.lower()

    return parse


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting(
        "DESTINATION", "", "`s3://bucket/prefix`, `file:///directory`",
        "destination of the objects; the only setting without a default", destination.parse,
    ),
    Setting(
        "FLUSH", "adaptive", "`invocation`, `time`, `size`, `adaptive`",
        "flush policy: when pending records are uploaded", _choice(*(f.value for f in Flush)),
    ),
    Setting(
        "FLUSH_INVOCATIONS", str(DEFAULT_INVOCATIONS), "1 to 100000",
        "invocations per object; if set, it also limits the other policies", _whole(1, 100_000),
    ),
    Setting(
        "FLUSH_SECONDS", f"{DEFAULT_SECONDS:g}", "0.1 to 86400",
        "maximum age of the oldest pending record; if set, it also limits the other policies", _seconds(0.1, 86_400),
    ),
    Setting(
        "FLUSH_BYTES", _human(DEFAULT_BYTES), "1KiB to 256MiB",
        "maximum size of the pending records; if set, it also limits the other policies", _size(KIB, 256 * MIB),
    ),
    Setting(
        "FLUSH_TIMING", "post-execution", "`post-execution`, `next-invocation`",
        "`post-execution`: after the invocation, in an object with its records; `next-invocation`: while the next invocation runs, which adds no billed time unless that invocation is shorter than the upload",
        _choice(*(m.value for m in Timing)),
    ),
    Setting(
        "KEY", object_key.DEFAULT_KEY, "a template with `{environment}` and `{segment}`",
        "key of an object under the prefix; the fields are " + ", ".join(f"`{{{f}}}`" for f in sorted(object_key.KEY_FIELDS)), object_key.parse,
    ),
    Setting("COMPRESSION", "gzip", "`gzip`, `none`", "compression of the objects; the key ends with `.gz` accordingly", _choice("gzip", "none")),
    Setting(
        "TYPES", values.DEFAULT_TYPES, "`platform`, `function`, `extension`", "kinds of records that are stored", values.parse_types,
    ),
    Setting(
        "SPOOL_DIR", values.DEFAULT_SPOOL_DIR, "an absolute path",
        "directory of the spool; it survives a timeout of the function", values.parse_directory,
    ),
    Setting(
        "SPOOL_BYTES", "64MiB", "1MiB to 10GiB",
        "maximum size of the spool; beyond it the oldest records are discarded, and a `logferry.dropped` record reports the loss", _size(MIB, 10 * 1024 * MIB),
    ),
    Setting(
        "PORT", str(values.DEFAULT_PORT), "1024 to 65535, except 9001",
        "port of the listener; if it is in use, a free port is used", values.parse_port,
    ),
    Setting("UPLOAD_TIMEOUT", "5", "0.1 to 60", "maximum duration of an upload in seconds", _seconds(0.1, 60)),
    Setting(
        "S3_CLIENT", "auto", "`auto`, `sdk`",
        "`auto`: logferry's own S3 client, or the AWS SDK if the configuration requires it; `sdk`: always the AWS SDK", _choice("auto", "sdk"),
    ),
    Setting(
        "LOG_LEVEL", values.DEFAULT_LOG_LEVEL, "`debug`, `info`, `warning`, `error`",
        "minimum level of logferry's own messages", values.parse_log_level,
    ),
    Setting("ENABLED", "true", "`true`, `false`", "`false`: logferry is idle and stores nothing", values.parse_truth),
    Setting(
        "STRICT", "false", "`true`, `false`",
        "`true`: invalid settings fail the Init phase of the function instead of disabling logferry", values.parse_truth,
    ),
)  # fmt: skip
"""The table of all settings. The README has the same rows (tests/test_docs.py)."""


class Settings(NamedTuple):
    """The valid settings of one environment."""

    destination: Destination
    policy: Policy
    key: str
    compress: bool
    types: frozenset[str]
    spool_dir: str
    spool_bytes: int
    upload_timeout: float
    s3_client: str
    """Client for S3: `auto` or `sdk`."""
    log_level: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings of an environment. Raise SettingsError with all mistakes."""
        given = {s.name for s in SETTINGS if environ.get(PREFIX + s.name, "").strip()}
        mistakes = [*_unknown(environ)]
        parsed: dict[str, Any] = {}
        for setting in SETTINGS:
            text = environ.get(PREFIX + setting.name, "").strip()
            try:
                parsed[setting.name] = setting.parse(text or setting.default)
            except ValueError as error:
                found = f"is {text!r}" if text else "is not set"
                mistakes.append(f"{PREFIX}{setting.name} {found}: {error}")
        mistakes += _combined(parsed, given, environ)
        if mistakes:
            raise SettingsError(mistakes)
        return _settings(parsed, given)


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = [s.name for s in SETTINGS]
    for name in sorted(n.removeprefix(PREFIX) for n in environ if n.startswith(PREFIX)):
        if name not in known:
            import difflib  # noqa: PLC0415 - only a mistake needs it, and the import would delay every start

            near = difflib.get_close_matches(name, known, n=1)
            yield f"{PREFIX}{name} is not a setting" + (f": use {PREFIX}{near[0]}" if near else ": remove it")


def _combined(parsed: Mapping[str, Any], given: set[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    yield from contradictions(parsed, given)
    if "DESTINATION" not in parsed:
        return
    yield from aws_mistakes(parsed["DESTINATION"], environ)
    if {"KEY", "COMPRESSION"} <= parsed.keys():
        key, compress = _key(parsed, given), parsed["COMPRESSION"] == "gzip"
        yield from key_mistakes(parsed["DESTINATION"], key, compress=compress, environ=environ)


def _key(parsed: Mapping[str, Any], given: set[str]) -> str:
    """Return the key template. The default one follows the compression."""
    key: str = parsed["KEY"]
    return key if parsed["COMPRESSION"] == "gzip" or "KEY" in given else key.removesuffix(".gz")


def _settings(parsed: Mapping[str, Any], given: set[str]) -> Settings:
    return Settings(
        destination=parsed["DESTINATION"],
        policy=Policy(
            flush=Flush(parsed["FLUSH"]),
            timing=Timing(parsed["FLUSH_TIMING"]),
            thresholds=Thresholds(
                invocations=parsed["FLUSH_INVOCATIONS"] if "FLUSH_INVOCATIONS" in given else None,
                seconds=parsed["FLUSH_SECONDS"] if "FLUSH_SECONDS" in given else None,
                size=parsed["FLUSH_BYTES"] if "FLUSH_BYTES" in given else None,
            ),
        ),
        key=_key(parsed, given),
        compress=parsed["COMPRESSION"] == "gzip",
        types=parsed["TYPES"],
        spool_dir=parsed["SPOOL_DIR"],
        spool_bytes=parsed["SPOOL_BYTES"],
        upload_timeout=parsed["UPLOAD_TIMEOUT"],
        s3_client=parsed["S3_CLIENT"],
        log_level=parsed["LOG_LEVEL"],
    )
