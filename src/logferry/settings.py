"""The settings of one environment, from its variables, its configuration file and its references.

Guarantees:
- Each setting is one environment variable with the prefix LOGFERRY_. An empty value counts as not
  set. A setting without a variable can be in the configuration file.
- All mistakes are reported at once, each once and with its remedy.

Design: the AWS variables (region, credentials, AWS_ENDPOINT_URL_S3, proxies) keep their meaning.
`settings_table` has the settings that every start reads, and `settings_validation` the rules that
need several values. `options` has the settings of the features that are off by default, and is
imported only if one of its variables is set. `config_file` and `references` are imported only if a
configuration file or a reference is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry import destination
from logferry.errors import SettingsError
from logferry.flush.policy import Flush, Policy, Thresholds, Timing
from logferry.records import object_key
from logferry.settings_table import SETTINGS
from logferry.settings_validation import aws_mistakes, contradictions, key_mistakes, unused_mistakes

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from logferry.config_file import ConfigFile
    from logferry.destination import Destination
    from logferry.options import Table
    from logferry.options.fallback import FallbackOptions
    from logferry.options.firehose import FirehoseOptions
    from logferry.options.https import HttpsOptions
    from logferry.options.instrumentation import InstrumentationOptions
    from logferry.options.records import RecordOptions
    from logferry.options.s3 import S3Options
    from logferry.options.s3_access import S3Access
    from logferry.references.grammar import References
    from logferry.setting import Setting

PREFIX = "LOGFERRY_"
REFERENCE_MARKS = ("ssm:", "secretsmanager:")
"""Beginning of each reference (`references`)."""


class Settings(NamedTuple):
    """The valid settings of one environment."""

    destination: Destination
    policy: Policy
    key: str
    compression: str
    """`gzip`, `zstd` or `none`."""
    types: frozenset[str]
    spool_dir: str
    spool_bytes: int
    upload_timeout: float
    s3_client: str
    """Client for S3: `auto` or `sdk`."""
    log_level: str
    instrumentation: InstrumentationOptions | None = None
    """Options of events, calls and usage, or None if no variable of them is set."""
    records: RecordOptions | None = None
    """Options of selection and masking, or None if no variable of them is set."""
    s3: S3Options | None = None
    """Options of the objects in S3, or None if no variable of them is set."""
    s3_access: S3Access | None = None
    """Role, credentials and endpoint of S3, or None if no variable of them is set."""
    https: HttpsOptions | None = None
    """Options of requests to a receiver, or None if no variable of them is set."""
    firehose: FirehoseOptions | None = None
    """Options of a stream, or None if no variable of them is set."""
    fallback: FallbackOptions | None = None
    """The fallback destination, or None if it is not set."""
    references: References | None = None
    """References whose values are not known yet, or None if there are none. A destination that is one is `UNRESOLVED`,
    and a table of options that has one is None."""

    @property
    def format(self) -> str:
        """Format of the objects: `ndjson`, `text` or `otlp`."""
        processing = self.records.processing if self.records else None
        return processing.format if processing else "ndjson"

    @property
    def object_bytes(self) -> int | None:
        """Maximum size of the batches in an object, in bytes, or None without a limit."""
        given = self.records.object_bytes if self.records else None
        places = [self.destination, *([self.fallback.destination] if self.fallback else [])]
        limits = [limit for each in places if (limit := destination.object_bytes(each))]
        return given or min(limits, default=None)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], resolved: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of an environment and of its configuration file. Raise SettingsError with all mistakes.

        `resolved` has the texts of the settings that contain references, with the values in place of the references.
        """
        texts = {n.removeprefix(PREFIX): text.strip() for n, text in environ.items() if n.startswith(PREFIX)}
        file = _config_file(texts["CONFIG"]) if texts.get("CONFIG") else None
        if file:
            texts = file.under(texts)
        references, mistakes = _references(texts, file)
        unresolved = references.texts.keys() if references and resolved is None else set[str]()
        texts |= resolved or {}
        tables, unknown = _tables(texts)
        rows = (*SETTINGS, *(row for table in tables.values() for row in table.SETTINGS))
        known = [row for row in rows if row.name not in unresolved and row.name not in mistakes]
        parsed, invalid = _parsed(known, texts, secret=references.texts.keys() if references else ())
        given = {name for name, text in texts.items() if text}
        filled = parsed | {name: destination.UNRESOLVED for name in unresolved if name.endswith("DESTINATION")}
        changed = {row.name for row in rows if texts.get(row.name, "") not in {"", row.default}}
        found = [*mistakes.values(), *unknown, *invalid, *unused_mistakes(filled, changed)]
        found += _combined(filled, given, environ, tables)
        for table in tables.values():
            found += table.contradictions(parsed, given)
        if file:
            found = file.attribute(found)
        if found:
            raise SettingsError([*dict.fromkeys(found)])
        complete = {
            name: table.read(filled)
            for name, table in tables.items()
            if all(row.name in filled for row in table.SETTINGS)
        }
        settings = _settings(filled, given)
        return settings._replace(**complete, references=references if unresolved else None)


def _parsed(
    rows: Iterable[Setting], texts: Mapping[str, str], *, secret: Container[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the settings by their names, and the mistakes. Those of `secret` settings show no value."""
    parsed: dict[str, Any] = {}
    mistakes = []
    for setting in rows:
        text = texts.get(setting.name, "")
        try:
            parsed[setting.name] = setting.parse(text or setting.default)
        except ValueError as error:
            # The reason may quote the value.
            wrong = _mistake_of_reference(setting) if setting.name in secret else _mistake(setting, text, error)
            mistakes.append(wrong)
    return parsed, mistakes


def _mistake(setting: Setting, text: str, error: ValueError) -> str:
    return f"{PREFIX}{setting.name} {f'is {setting.shown(text)!r}' if text else 'is not set'}: {error}"


def _mistake_of_reference(setting: Setting) -> str:
    return f"{PREFIX}{setting.name} is not valid with the value of its reference: use {setting.range.replace('`', '')}"


def _config_file(path: str) -> ConfigFile:
    from logferry import options  # noqa: PLC0415 - most functions have no file
    from logferry.config_file import ConfigFile  # noqa: PLC0415

    file = ConfigFile(path)
    file.check_names([*(setting.name for setting in SETTINGS), *options.MODULE_OF])
    return file


def _references(texts: Mapping[str, str], file: ConfigFile | None) -> tuple[References | None, dict[str, str]]:
    """Return the references in the texts, and the mistakes in them by the name of their setting."""
    if not any(mark in text for text in texts.values() for mark in REFERENCE_MARKS):
        return None, {}
    from logferry.references import grammar  # noqa: PLC0415 - most functions have no references

    return grammar.find(texts, {name: file.place(name) for name in texts} if file else {})


def _tables(texts: Mapping[str, str]) -> tuple[dict[str, Table], list[str]]:
    """Return the tables of `options` that have a variable which is set, and the mistakes in names."""
    further = texts.keys() - {setting.name for setting in SETTINGS}
    if not further:
        return {}, []
    from logferry import options  # noqa: PLC0415 - most functions set none of these variables

    mistakes = list(_unknown(further - options.MODULE_OF.keys(), [*(s.name for s in SETTINGS), *options.MODULE_OF]))
    return options.tables(name for name in further if texts[name]), mistakes


def _unknown(names: set[str], known: list[str]) -> Iterator[str]:
    for name in sorted(names):
        import difflib  # noqa: PLC0415 - only a mistake needs it, and the import would delay every start

        near = difflib.get_close_matches(name, known, n=1)
        yield f"{PREFIX}{name} is not a setting" + (f": use {PREFIX}{near[0]}" if near else ": remove it")


def _combined(
    parsed: Mapping[str, Any], given: set[str], environ: Mapping[str, str], tables: Mapping[str, Table]
) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    yield from contradictions(parsed, given)
    if "DESTINATION" not in parsed:
        return
    access = _access(parsed, tables)
    if {"KEY", "COMPRESSION"} <= parsed.keys():
        yield from _zstd_mistakes(parsed["COMPRESSION"])
    for name in ("DESTINATION", "FALLBACK_DESTINATION"):
        if (place := parsed.get(name)) is not None:
            if access and place.scheme == "s3":
                yield from _access_mistakes(place, access, environ)
            else:
                yield from aws_mistakes(place, environ)
            yield from _key_mistakes(name, place, parsed, given, environ)


def _key_mistakes(
    name: str, place: Destination, parsed: Mapping[str, Any], given: set[str], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield the mistakes in the keys of one of the destinations. Most are the same for both."""
    if {"KEY", "COMPRESSION"} <= parsed.keys():
        key, compression = _key(parsed, given), parsed["COMPRESSION"]
        yield from key_mistakes(place, key, compression=compression, environ=environ, setting=f"{PREFIX}{name}")


def _access(parsed: Mapping[str, Any], tables: Mapping[str, Table]) -> S3Access | None:
    """Return the access to S3, as far as its settings are known, if one of them is set and they give the endpoint."""
    table = tables.get("s3_access")
    url = parsed.get("S3_ENDPOINT_URL")
    # An invalid setting, or one with a reference, has no value yet. The region matters only without a URL.
    if not table or url is None or not (url or "S3_REGION" in parsed):
        return None
    access: S3Access = table.read({row.name: parsed.get(row.name, "") for row in table.SETTINGS})
    return access


def _access_mistakes(place: Destination, access: S3Access, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the mistakes in the variables of S3. Settings have replaced some of them, and are named instead."""
    from logferry.aws.variable_names import renamed  # noqa: PLC0415 - most functions set none of them

    for mistake in aws_mistakes(place, access.environ(environ)):
        yield renamed(mistake, access.names())


def _zstd_mistakes(compression: str) -> Iterator[str]:
    """Yield a mistake if the compressor is not installed."""
    if compression == "zstd":
        from logferry.records import zstd_packing  # noqa: PLC0415 - imported only if it is chosen

        try:
            zstd_packing.load()
        except ValueError as error:
            yield f"{PREFIX}COMPRESSION is zstd: {error}"


def _key(parsed: Mapping[str, Any], given: set[str]) -> str:
    """Return the key template. The default one follows the format and the compression."""
    if "KEY" in given:
        return str(parsed["KEY"])
    return object_key.default_key(form=parsed.get("FORMAT", "ndjson"), compression=parsed["COMPRESSION"])


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
        compression=parsed["COMPRESSION"],
        types=parsed["TYPES"],
        spool_dir=parsed["SPOOL_DIR"],
        spool_bytes=parsed["SPOOL_BYTES"],
        upload_timeout=parsed["UPLOAD_TIMEOUT"],
        s3_client=parsed["S3_CLIENT"],
        log_level=parsed["LOG_LEVEL"],
    )
