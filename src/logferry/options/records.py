"""Settings of the records: which are stored, what is masked, which columns are added, and the format of objects.

Design: expressions are compiled here, so that a mistake in one of them is reported with all others. A start with one of
these variables imports only what the variable needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.records import fields
from logferry.records.fields import LEVEL_NAMES
from logferry.records.internal import PREFIX
from logferry.records.processing import NDJSON, OTLP, TEXT, Processing
from logferry.records.sampling import Sample
from logferry.records.selection import ANY_REST, Selection
from logferry.setting import KIB, MIB, Setting, choice, size
from logferry.settings_validation import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logferry.records.mask_rules import Rule
    from logferry.records.masking import Masker
    from logferry.records.patterns import Pattern

PRESETS = ("email", "ipv4", "ipv6", "aws-keys", "jwt", "bearer", "card")
"""Presets of LOGFERRY_MASK (`mask_rules`)."""
# These patterns are compiled when a variable is set, because the compilation would delay every start.
_TYPE = r"[A-Za-z][A-Za-z0-9.]*\*?"
_RULE = (
    r"\s*(?:(?P<preset>[a-z0-9-]+)"
    r"|(?:(?P<name>[A-Za-z][A-Za-z_-]{0,30})=)?"
    r"(?:(?P<path>\$(?:\[[^\]]*\]|[^,=/\[\s])+)(?:=(?=/))?)?(?:/(?P<pattern>(?:[^/\\]|\\.)+)/)?)\s*(?:,|\Z)"
)
"""One rule of LOGFERRY_MASK with the comma behind it."""
_FIELD = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_RESERVED = COLUMNS | {name.lower() for name in fields.COLUMNS} | {"function", "version", "region", "dt", "hour"}
"""Names of columns in lines and in paths, in lower case."""
_RULES_REMEDY = (
    "separate the rules by commas; a rule is a preset (" + ", ".join(PRESETS) + "), an expression such as "
    r"/user-\d+/ or name=/user-\d+/, or a JSON path such as $.user.password or $.note=/\d{9}/"
)


def _pattern(text: str) -> Pattern | None:
    if not text:
        return None
    from logferry.records.patterns import Pattern  # noqa: PLC0415 - imports RE2

    pattern = Pattern(text)
    if pattern.matches_nothing_at_all:
        raise ValueError("the pattern matches every line: require at least one character, such as + instead of *")
    return pattern


def _types(text: str) -> tuple[str, ...]:
    types = tuple(part.strip() for part in text.split(",") if part.strip())
    for kind in types:
        if not re.fullmatch(_TYPE, kind):
            raise ValueError(f"{kind!r} is not a type: use names such as platform.start or platform.init*")
        if PREFIX.startswith(kind.removesuffix(ANY_REST)) or kind.startswith(PREFIX):
            raise ValueError(f"{kind!r} would drop reports of losses: remove it")
    return types


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 <= share <= 1:
        raise ValueError("use a number from 0 to 1, such as 0.1 for a tenth of the invocations")
    return share


def _rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of LOGFERRY_MASK. Raise ValueError with the remedy."""
    rules, position = [], 0
    pattern = re.compile(_RULE) if text else None
    while pattern and position < len(text):
        found = pattern.match(text, position)
        if not found or not (found["preset"] or found["path"] or found["pattern"]):
            raise ValueError(f"{text[position:].strip()[:60]!r} is not a rule: {_RULES_REMEDY}")
        rules.append(_rule(found))
        position = found.end()
    return tuple(rules)


def _rule(found: re.Match[str]) -> Rule:
    from logferry.records import mask_rules  # noqa: PLC0415 - imports RE2

    preset, name, path, pattern = found.group("preset", "name", "path", "pattern")
    if preset:
        if preset not in mask_rules.PRESETS:
            raise ValueError(f"{preset!r} is not a preset: {_RULES_REMEDY}")
        return mask_rules.preset(preset)
    if name in mask_rules.PRESETS:
        raise ValueError(f"{name!r} is the name of a preset: choose another name")
    name = name or mask_rules.MASKED
    place = None
    if path:
        from logferry.records.json_path import JsonPath  # noqa: PLC0415 - few functions set a path

        place = JsonPath(path)
    if pattern:
        try:
            return mask_rules.custom(pattern.replace(r"\/", "/"), name=name, path=place)
        except ValueError as error:
            raise ValueError(f"/{pattern}/: {error}") from None
    assert place  # noqa: S101 - the expression requires one of them
    return mask_rules.value_at(place, name=name)


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    """Return names and values of LOGFERRY_FIELDS. Raise ValueError with the remedy."""
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(",")):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not re.fullmatch(_FIELD, name) or not value.isprintable() or not value:
            raise ValueError(f"{part.strip()!r} is not a field: use name=value, such as team=x,env=prod")
        if name.lower() in _RESERVED or name.lower() in map(str.lower, found):
            raise ValueError(f"{name!r} is already the name of a column: choose another name")
        found[name] = value
    return tuple(found.items())


def _columns(text: str) -> frozenset[str]:
    chosen = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not chosen <= frozenset(fields.COLUMNS):
        raise ValueError("list one or more of " + ", ".join(fields.COLUMNS) + ", separated by commas")
    return chosen


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("MIN_LEVEL", "trace", ", ".join(f"`{name}`" for name in LEVEL_NAMES), "minimum level of stored lines; lines without a level are stored", choice(*LEVEL_NAMES)),
    Setting("INCLUDE", "", "a regular expression (RE2)", "lines that do not match are not stored", _pattern),
    Setting("EXCLUDE", "", "a regular expression (RE2)", "lines that match are not stored", _pattern),
    Setting("EXCLUDE_TYPES", "", "types, separated by commas", "types of records that are not stored, such as `platform.start,platform.init*`", _types),
    Setting("SAMPLE", "1", "0 to 1", "share of the invocations that are stored, chosen by request ID", _share),
    Setting("SAMPLE_KEEP", "none", "`none`, `errors`", "`errors`: invocations that fail, time out or run out of memory are stored even if they are not in the sample", choice("none", "errors")),
    Setting("MASK", "", "presets, `/expressions/` and JSON paths, separated by commas", "parts of records that are replaced; the presets are " + ", ".join(f"`{name}`" for name in PRESETS), _rules),
    Setting("FIELDS", "", "`name=value`, separated by commas", "static fields in the closing line of each object, such as `team=x,env=prod`", _fields),
    Setting("LINE_FIELDS", "", ", ".join(f"`{name}`" for name in fields.COLUMNS), "further columns of each line, separated by commas; `fields` are those of `LOGFERRY_FIELDS`", _columns),
    Setting("FORMAT", NDJSON, "`ndjson`, `text`, `otlp`", "format of the objects: object format 1, lines as in an export of CloudWatch Logs, or OTLP/JSON logs", choice(NDJSON, TEXT, OTLP)),
    Setting("OBJECT_BYTES", "", "64KiB to 256MiB", "maximum size of the batches in an object, before compression; a single larger batch is still one object; the default for `https://` is 2MiB", lambda text: size(64 * KIB, 256 * MIB)(text) if text else None),
)  # fmt: skip


class RecordOptions(NamedTuple):
    """The valid settings of this table."""

    processing: Processing | None
    """Processing of records, or None if only the size of objects is set."""
    object_bytes: int | None
    """Maximum size of the batches in an object, in bytes."""


def contradictions(parsed: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    if parsed.get("SAMPLE_KEEP") == "errors":
        if "SAMPLE" in parsed and parsed["SAMPLE"] == 1:
            yield "LOGFERRY_SAMPLE_KEEP is errors, but LOGFERRY_SAMPLE keeps every invocation: set LOGFERRY_SAMPLE, or remove it"
        if "platform" not in parsed.get("TYPES", ("platform",)):
            yield (
                "LOGFERRY_SAMPLE_KEEP is errors, but without platform records no failure is known: add platform to "
                "LOGFERRY_TYPES"
            )
    lines = given & {"MIN_LEVEL", "INCLUDE", "EXCLUDE"}
    if lines and parsed.get("TYPES") == frozenset({"platform"}):
        yield (
            f"LOGFERRY_{min(lines)} selects lines, but LOGFERRY_TYPES stores none: add function to LOGFERRY_TYPES, or "
            "remove the setting"
        )
    columns = parsed.get("LINE_FIELDS", frozenset())
    if fields.STATIC in columns and not parsed.get("FIELDS", True):
        yield "LOGFERRY_LINE_FIELDS has fields, but LOGFERRY_FIELDS is not set: set it, or remove fields"
    yield from _partition_mistakes(columns, parsed)
    yield from _format_mistakes(parsed, given)
    if (parsed.get("OBJECT_BYTES") or 0) >= parsed.get("SPOOL_BYTES", float("inf")):
        yield "LOGFERRY_OBJECT_BYTES must be smaller than LOGFERRY_SPOOL_BYTES, because the batches are in the spool"


def _format_mistakes(parsed: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    """Yield the combinations with a format that its readers do not support."""
    form, key, compression = parsed.get("FORMAT"), parsed.get("KEY", ""), parsed.get("COMPRESSION")
    schemes = {parsed[name].scheme for name in ("DESTINATION", "FALLBACK_DESTINATION") if parsed.get(name)}
    if form == TEXT and schemes & {"https", "http"}:
        yield (
            "LOGFERRY_FORMAT is text, whose lines have no number, so a receiver cannot remove repeated lines: use "
            "ndjson or otlp"
        )
    if form in {TEXT, OTLP} and "firehose" in schemes:
        cause = "whose lines have no number" if form == TEXT else "whose objects cannot be divided"
        yield f"LOGFERRY_FORMAT is {form}, {cause}, so a stream cannot deliver them correctly: use ndjson"
    if schemes and schemes <= {"firehose", "https", "http"}:
        return
    if form == TEXT and parsed.get("LINE_FIELDS"):
        yield "LOGFERRY_LINE_FIELDS adds columns, which text does not have: remove it, or change LOGFERRY_FORMAT"
    if form != OTLP:
        return
    if compression == "zstd":
        yield (
            "LOGFERRY_COMPRESSION is zstd, but the S3 receiver of the OpenTelemetry Collector reads gzip only: use gzip "
            "or none"
        )
    elif "KEY" in given and not key.removesuffix(".gz").endswith(".json"):
        yield (
            "LOGFERRY_KEY must end with .json, or .json.gz with gzip, because the S3 receiver of the OpenTelemetry "
            "Collector recognises OTLP/JSON by the name: correct the end"
        )


def _partition_mistakes(columns: frozenset[str], parsed: Mapping[str, Any]) -> Iterator[str]:
    """Yield the columns that are also partitions: a query engine finds two values for them."""
    names = {column.lower() for column in columns - {fields.STATIC}}
    if fields.STATIC in columns:
        names |= {name.lower() for name, _ in parsed.get("FIELDS", ())}
    places = [parsed[name] for name in ("DESTINATION", "FALLBACK_DESTINATION") if parsed.get(name)]
    path = "/".join(place.path for place in places)
    for part in [*path.split("/"), *parsed.get("KEY", "").split("/")[:-1]]:
        name, equals, _ = part.partition("=")
        if equals and name.lower() in names:
            yield (
                f"LOGFERRY_LINE_FIELDS has the column {name!r}, which is also a partition of LOGFERRY_DESTINATION or "
                "LOGFERRY_KEY: choose another name"
            )


def _rank_of() -> Callable[[object], int | None]:
    from logferry.records.levels import rank_of  # noqa: PLC0415 - compiles the patterns of all loggers

    return rank_of


def _masker(rules: tuple[Rule, ...]) -> Masker:
    from logferry.records.masking import Masker  # noqa: PLC0415 - imports RE2

    return Masker(rules)


def read(parsed: Mapping[str, Any]) -> RecordOptions:
    """Return the options of the parsed values."""
    types = parsed["EXCLUDE_TYPES"]
    share, columns = parsed["SAMPLE"], parsed["LINE_FIELDS"]
    selection = Selection(
        min_rank=LEVEL_NAMES.index(parsed["MIN_LEVEL"]),
        rank_of=_rank_of() if parsed["MIN_LEVEL"] != LEVEL_NAMES[0] else None,
        include=parsed["INCLUDE"],
        exclude=parsed["EXCLUDE"],
        types=frozenset(kind for kind in types if not kind.endswith(ANY_REST)),
        type_prefixes=tuple(kind.removesuffix(ANY_REST) for kind in types if kind.endswith(ANY_REST)),
        sample=Sample(share, keep_errors=parsed["SAMPLE_KEEP"] == "errors") if share < 1 else None,
    )
    processing = Processing(
        selection=selection if selection != Selection() else None,
        masker=_masker(parsed["MASK"]) if parsed["MASK"] else None,
        fields=fields.Fields(parsed["FIELDS"], columns) if parsed["FIELDS"] or columns else None,
        format=parsed["FORMAT"],
    )
    return RecordOptions(processing if processing != Processing() else None, parsed["OBJECT_BYTES"])
