"""Table of the settings that every start reads, which the parser, the README and config/ are checked against.

Guarantees:
- A value that the supervisor reads too has one parser for both processes (`values`).

Design: durations are seconds, sizes are bytes (with the units `KiB` and `MiB`). `options` has the tables of the
features that are off by default.
"""

from __future__ import annotations

from logferry import destination, values
from logferry.flush.policy import DEFAULT_BYTES, DEFAULT_INVOCATIONS, DEFAULT_SECONDS, Flush, Timing
from logferry.records import object_key
from logferry.setting import KIB, MIB, Setting, choice, human, seconds, size, whole


def _path(text: str) -> str:
    return values.parse_directory(text) if text else ""


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting(
        "DESTINATION", "", "`s3://bucket/prefix`, `firehose://stream`, `https://host/path`, `file:///directory`",
        "destination of the objects; the only setting without a default", destination.parse, destination.shown,
    ),
    Setting(
        "FLUSH", "adaptive", "`invocation`, `time`, `size`, `adaptive`",
        "flush policy: when pending records are uploaded", choice(*(f.value for f in Flush)),
    ),
    Setting(
        "FLUSH_INVOCATIONS", str(DEFAULT_INVOCATIONS), "1 to 100000",
        "invocations per object; if set, it also limits the other policies", whole(1, 100_000),
    ),
    Setting(
        "FLUSH_SECONDS", f"{DEFAULT_SECONDS:g}", "0.1 to 86400",
        "maximum age of the oldest pending record; if set, it also limits the other policies", seconds(0.1, 86_400),
    ),
    Setting(
        "FLUSH_BYTES", human(DEFAULT_BYTES), "1KiB to 256MiB",
        "maximum size of the pending records; if set, it also limits the other policies", size(KIB, 256 * MIB),
    ),
    Setting(
        "FLUSH_TIMING", "post-execution", "`post-execution`, `next-invocation`",
        "`post-execution`: after the invocation, in an object with its records; `next-invocation`: while the next invocation runs, which adds no billed time unless that invocation is shorter than the upload",
        choice(*(m.value for m in Timing)),
    ),
    Setting(
        "KEY", object_key.DEFAULT_KEY, "a template with `{environment}` and `{segment}`",
        "key of an object under the prefix; the fields are " + ", ".join(f"`{{{f}}}`" for f in sorted(object_key.KEY_FIELDS)), object_key.parse,
    ),
    Setting("COMPRESSION", "gzip", "`gzip`, `zstd`, `none`", "compression of the objects; the key ends with `.gz` or `.zst` accordingly", choice("gzip", "zstd", "none")),
    Setting(
        "TYPES", values.DEFAULT_TYPES, "`platform`, `function`, `extension`", "kinds of records that are stored", values.parse_types,
    ),
    Setting(
        "SPOOL_DIR", values.DEFAULT_SPOOL_DIR, "an absolute path",
        "directory of the spool; it survives a timeout of the function", values.parse_directory,
    ),
    Setting(
        "SPOOL_BYTES", "64MiB", "1MiB to 10GiB",
        "maximum size of the spool; beyond it the oldest records are discarded, and a `logferry.dropped` record reports the loss", size(MIB, 10 * 1024 * MIB),
    ),
    Setting(
        "PORT", str(values.DEFAULT_PORT), "1024 to 65535, except 9001",
        "port of the listener; if it is in use, a free port is used", values.parse_port,
    ),
    Setting("UPLOAD_TIMEOUT", "5", "0.1 to 60", "maximum duration of an upload in seconds", seconds(0.1, 60)),
    Setting(
        "S3_CLIENT", "auto", "`auto`, `sdk`",
        "`auto`: logferry's own S3 client, or the AWS SDK if the configuration requires it; `sdk`: always the AWS SDK", choice("auto", "sdk"),
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
    Setting(
        "CONFIG", "", "an absolute path",
        "file with settings in TOML, such as `/var/task/logferry.toml`; environment variables take precedence", _path,
    ),
)  # fmt: skip
"""The settings that every start reads. The README has these rows and those of `options` (tests/test_docs.py)."""
