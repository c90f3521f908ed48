"""Key of an object: template fields, validation, rendering.

Guarantees:
- A valid template gives each segment of each environment its own key.
- The key depends on the segment alone, so a repeated upload overwrites its object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logferry.records.model import Header

DEFAULT_KEY = "function={function}/dt={date}/hour={hour}/{time}-{environment}-{segment}.ndjson.gz"
_OTLP_KEY = "year={year}/month={month}/day={day}/hour={hour}/logs_{function}_{time}-{environment}-{segment}.json"
"""Key that the S3 receiver of the OpenTelemetry Collector finds, with its partitions by the hour."""
COMPRESSED = {"gzip": ".gz", "zstd": ".zst", "none": ""}
"""Suffix of a key for each compression."""
KEY_FIELDS = frozenset(
    {
        *("function", "version", "region", "date", "year", "month", "day", "hour", "time"),
        *("environment", "segment", "request_id"),
    }
)
REQUIRED_KEY_FIELDS = frozenset({"environment", "segment"})
"""Fields that every template must contain. Without both, one segment could overwrite another."""


def parse(text: str) -> str:
    """Return a valid template. Raise ValueError with the mistake and its remedy."""
    import string  # noqa: PLC0415 - only a template of the user is checked

    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"the braces do not match ({error})") from error
    fields = {name for _, name, _, _ in parts if name is not None}
    if unknown := fields - KEY_FIELDS:
        raise ValueError(f"unknown {_braced(unknown)}; known are {_braced(KEY_FIELDS)}")
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ValueError("fields take no format, only {name}")
    if missing := REQUIRED_KEY_FIELDS - fields:
        raise ValueError(f"{_braced(missing)} must be in it, or objects would overwrite each other")
    return text.lstrip("/")


def default_key(*, form: str, compression: str) -> str:
    """Return the template for a format (`ndjson`, `text` or `otlp`) and a compression."""
    stem = DEFAULT_KEY.removesuffix(".ndjson.gz")
    key = {"ndjson": f"{stem}.ndjson", "text": f"{stem}.log", "otlp": _OTLP_KEY}[form]
    return key + COMPRESSED[compression]


def render_key(template: str, header: Header, time: str, request_id: str) -> str:
    """Return the key of a segment's object, relative to the prefix of the destination.

    `time` is a canonical time and `request_id` a valid one, both of the invocation in the segment.
    """
    year, month, day, hour = time[:4], time[5:7], time[8:10], time[11:13]
    return template.format(
        function=header.origin.function,
        version=header.origin.version,
        region=header.origin.region,
        date=f"{year}-{month}-{day}",
        year=year,
        month=month,
        day=day,
        hour=hour,
        time=f"{hour}{time[14:16]}{time[17:19]}Z",
        environment=header.origin.environment,
        segment=f"{header.number:08d}",
        request_id=request_id,
    )


def _braced(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
