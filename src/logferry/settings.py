"""The settings: one table, from which the parser, the README and config/ are checked.

Each setting is one environment variable with the prefix LOGFERRY_. Durations are seconds, sizes are bytes (`KiB` and
`MiB` accepted). All mistakes are found at once, and each says its remedy. AWS's own variables (region, credentials,
AWS_ENDPOINT_URL_S3, proxies) keep their meaning and are not read here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.errors import SettingsError
from logferry.flush.policy import DEFAULT_BYTES, DEFAULT_INVOCATIONS, DEFAULT_SECONDS, Flush, Policy, Thresholds, Timing
from logferry.records import object_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "LOGFERRY_"
KIB, MIB = 1024, 1024 * 1024
TYPES = ("platform", "function", "extension")
LEVELS = ("debug", "info", "warning", "error")
_SIZE = re.compile(r"(\d+)\s*(|B|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Setting(NamedTuple):
    """One line of the table; `name` is without the prefix."""

    name: str
    kind: str
    default: str
    range: str
    meaning: str
    parse: Callable[[str], Any]


class Destination(NamedTuple):
    """Where objects go: a bucket and a prefix, or a directory."""

    scheme: str
    bucket: str
    path: str


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not low <= value <= high:
            raise ValueError(f"give a whole number from {low} to {high}")
        return value

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"give seconds from {low:g} to {high:g}")
        return value

    return parse


def _size(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text)
        value = int(match[1]) * _UNITS[match[2].lower()] if match else -1
        if not low <= value <= high:
            raise ValueError(f"give bytes from {_human(low)} to {_human(high)}, as 1048576, 1024KiB or 1MiB")
        return value

    return parse


def _human(size: int) -> str:
    for unit, factor in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _choice(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(f"choose one of {', '.join(values)}")
        return text.lower()

    return parse


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("say true or false")
    return text.lower() in ("true", "1", "yes", "on")


def _types(text: str) -> frozenset[str]:
    chosen = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if not chosen or not chosen <= set(TYPES):
        raise ValueError(f"list one or more of {', '.join(TYPES)}, separated by commas")
    return chosen


def _directory(text: str) -> Path:
    if not Path(text).is_absolute():
        raise ValueError("give an absolute path")
    return Path(text)


def _destination(text: str) -> Destination:
    scheme, _, place = text.partition("://")
    bucket, _, prefix = place.partition("/")
    if scheme == "s3":
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(
                "write s3://bucket/prefix, the bucket by its name of 3 to 63 lower-case characters, "
                "an access point by its alias"
            )
        return Destination("s3", bucket, prefix.strip("/"))
    if scheme == "file" and place.startswith("/"):
        return Destination("file", "", place)
    raise ValueError("write s3://bucket/prefix, or file:///directory to try it without S3")


# ruff: noqa: E501 - a table reads best with a row on a line
SETTINGS = (
    Setting(
        "DESTINATION", "URL", "", "`s3://bucket/prefix`, `file:///directory`",
        "where objects go; the one setting that has no default", _destination,
    ),
    Setting(
        "FLUSH", "word", "adaptive", "`invocation`, `time`, `size`, `adaptive`",
        "when what waits is shipped", _choice(*(f.value for f in Flush)),
    ),
    Setting(
        "FLUSH_INVOCATIONS", "number", str(DEFAULT_INVOCATIONS), "1 to 100000",
        "one object for that many invocations; when set, it also caps the other policies", _whole(1, 100_000),
    ),
    Setting(
        "FLUSH_SECONDS", "seconds", f"{DEFAULT_SECONDS:g}", "0.1 to 86400",
        "how old the oldest waiting record may grow; when set, it also caps the other policies", _seconds(0.1, 86_400),
    ),
    Setting(
        "FLUSH_BYTES", "size", _human(DEFAULT_BYTES), "1KiB to 256MiB",
        "how much may wait; when set, it also caps the other policies", _size(KIB, 256 * MIB),
    ),
    Setting(
        "FLUSH_TIMING", "word", "post-execution", "`post-execution`, `next-invocation`",
        "`post-execution`: after the invocation, in an object with its records; `next-invocation`: while the next one runs, which adds no billed time",
        _choice(*(m.value for m in Timing)),
    ),
    Setting(
        "KEY", "template", object_key.DEFAULT_KEY, "must hold `{environment}` and `{segment}`",
        "the object's key under the prefix, from " + ", ".join(f"`{{{f}}}`" for f in sorted(object_key.KEY_FIELDS)), object_key.parse,
    ),
    Setting("COMPRESSION", "word", "gzip", "`gzip`, `none`", "of the objects", _choice("gzip", "none")),
    Setting(
        "TYPES", "list", "platform,function", "`platform`, `function`, `extension`", "the kinds of records that are shipped", _types,
    ),
    Setting(
        "SPOOL_DIR", "path", "/tmp/logferry", "an absolute path",  # noqa: S108 - the only writable place on Lambda
        "where records wait; it survives a timeout of the function", _directory,
    ),
    Setting(
        "SPOOL_BYTES", "size", "64MiB", "1MiB to 10GiB",
        "the most that may wait; beyond it the oldest goes, and its loss is recorded", _size(MIB, 10 * 1024 * MIB),
    ),
    Setting("PORT", "number", "9513", "1024 to 65535, not 9001", "of the listener; another is used when it is taken", _whole(1024, 65_535)),
    Setting("UPLOAD_TIMEOUT", "seconds", "5", "0.1 to 60", "the longest that one upload may take", _seconds(0.1, 60)),
    Setting(
        "LOG_LEVEL", "word", "warning", "`debug`, `info`, `warning`, `error`", "of logferry's own messages", _choice(*LEVELS),
    ),
    Setting("ENABLED", "truth", "true", "`true`, `false`", "`false` switches logferry off: it idles and ships nothing", _truth),
    Setting(
        "STRICT", "truth", "false", "`true`, `false`",
        "`true` lets wrong settings fail the function's init, for a deployment that should not pass unnoticed", _truth,
    ),
)  # fmt: skip
"""The table. What it says is what the README says (tests/test_docs.py)."""


class Settings(NamedTuple):
    """The settings of one environment, checked."""

    destination: Destination
    policy: Policy
    key: str
    compress: bool
    types: frozenset[str]
    spool_dir: Path
    spool_bytes: int
    upload_timeout: float
    log_level: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every LOGFERRY_ variable. Raises SettingsError with all mistakes at once."""
        mistakes = _unknown(environ)
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            text = environ.get(PREFIX + setting.name, "").strip()
            try:
                values[setting.name] = setting.parse(text or setting.default)
            except ValueError as error:
                found = f"is {text!r}" if text else "is not set"
                mistakes.append(f"{PREFIX}{setting.name} {found}: {error}")
        given = {s.name for s in SETTINGS if environ.get(PREFIX + s.name, "").strip()}
        mistakes += _contradictions(values, given)
        if mistakes:
            raise SettingsError(mistakes)
        return _checked(values, given)


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [s.name for s in SETTINGS]
    mistakes = []
    for name in sorted(n.removeprefix(PREFIX) for n in environ if n.startswith(PREFIX)):
        if name not in known:
            import difflib  # noqa: PLC0415 - only a mistake needs it, and every start would pay

            near = difflib.get_close_matches(name, known, n=1)
            mistakes.append(f"{PREFIX}{name} is no setting" + (f"; is {PREFIX}{near[0]} meant?" if near else ""))
    return mistakes


def _contradictions(values: dict[str, Any], given: set[str]) -> list[str]:
    """What no single value shows."""
    mistakes = []
    if values.get("PORT") == 9001:  # noqa: PLR2004 - Lambda's own
        mistakes.append("LOGFERRY_PORT is 9001, which is Lambda's own: choose another")
    if "FLUSH_BYTES" in given and values.get("FLUSH_BYTES", 0) >= values.get("SPOOL_BYTES", float("inf")):
        mistakes.append("LOGFERRY_FLUSH_BYTES must be smaller than LOGFERRY_SPOOL_BYTES, where that much has to wait")
    one_each = (
        values.get("FLUSH") == Flush.INVOCATION.value
        and values.get("FLUSH_INVOCATIONS") == 1
        and not given & {"FLUSH_SECONDS", "FLUSH_BYTES"}
    )
    if "{request_id}" in values.get("KEY", "") and not one_each:
        mistakes.append(
            "LOGFERRY_KEY has {request_id}, but an object may hold several invocations: "
            "set LOGFERRY_FLUSH=invocation and no other threshold, or leave it out"
        )
    return mistakes


def _checked(values: dict[str, Any], given: set[str]) -> Settings:
    compress = values["COMPRESSION"] == "gzip"
    key = values["KEY"]
    if not compress and "KEY" not in given:
        key = key.removesuffix(".gz")
    return Settings(
        destination=values["DESTINATION"],
        policy=Policy(
            flush=Flush(values["FLUSH"]),
            timing=Timing(values["FLUSH_TIMING"]),
            thresholds=Thresholds(
                invocations=values["FLUSH_INVOCATIONS"] if "FLUSH_INVOCATIONS" in given else None,
                seconds=values["FLUSH_SECONDS"] if "FLUSH_SECONDS" in given else None,
                size=values["FLUSH_BYTES"] if "FLUSH_BYTES" in given else None,
            ),
        ),
        key=key,
        compress=compress,
        types=values["TYPES"],
        spool_dir=values["SPOOL_DIR"],
        spool_bytes=values["SPOOL_BYTES"],
        upload_timeout=values["UPLOAD_TIMEOUT"],
        log_level=values["LOG_LEVEL"],
    )
