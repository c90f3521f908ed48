"""Tables of the settings of features that are off by default.

Guarantees:
- A table is imported only if an environment variable of it is set.
- `MODULE_OF` names exactly the settings of the tables (tests/options/test_tables.py).

Design: a start with the settings of `logferry.settings` alone must not become slower with each feature. The names are
listed here, so that an import is needed only for a variable that is set. A module of this package has `SETTINGS` (its
rows), `read` (the options of the parsed values), and `contradictions` (the mistakes in combinations of values).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from logferry.setting import Setting

MODULE_OF = {
    "EVENTS": "instrumentation",
    "EVENTS_LIMIT": "instrumentation",
    "CALLS": "instrumentation",
    "CALLS_URL": "instrumentation",
    "CALLS_HEADERS": "instrumentation",
    "CALLS_IGNORE": "instrumentation",
    "USAGE": "instrumentation",
    "USAGE_SECONDS": "instrumentation",
    "USAGE_COMPLETE_SECONDS": "instrumentation",
    "NEXT_WRAPPER": "instrumentation",
    "MIN_LEVEL": "records",
    "INCLUDE": "records",
    "EXCLUDE": "records",
    "EXCLUDE_TYPES": "records",
    "SAMPLE": "records",
    "SAMPLE_KEEP": "records",
    "MASK": "records",
    "FIELDS": "records",
    "LINE_FIELDS": "records",
    "FORMAT": "records",
    "OBJECT_BYTES": "records",
    "S3_ENCRYPTION": "s3",
    "S3_KMS_KEY": "s3",
    "S3_KMS_CONTEXT": "s3",
    "S3_BUCKET_KEY": "s3",
    "S3_STORAGE_CLASS": "s3",
    "S3_TAGS": "s3",
    "S3_EXPECTED_OWNER": "s3",
    "S3_ACL": "s3",
    "S3_REQUEST_PAYER": "s3",
    "S3_IF_NONE_MATCH": "s3",
    "S3_ROLE_ARN": "s3_access",
    "S3_ROLE_EXTERNAL_ID": "s3_access",
    "S3_ROLE_SESSION_NAME": "s3_access",
    "S3_ACCESS_KEY_ID": "s3_access",
    "S3_SECRET_ACCESS_KEY": "s3_access",
    "S3_SESSION_TOKEN": "s3_access",
    "S3_REGION": "s3_access",
    "S3_ENDPOINT_URL": "s3_access",
    "S3_DUALSTACK": "s3_access",
    "S3_FIPS": "s3_access",
    "HTTPS_TOKEN": "https",
    "HTTPS_HEADERS": "https",
    "FIREHOSE_LINES": "firehose",
    "FALLBACK_DESTINATION": "fallback",
}
"""Module of this package for each setting, in the order of the table in the README."""


class Table(Protocol):
    """A module of this package."""

    SETTINGS: tuple[Setting, ...]

    def contradictions(self, parsed: Mapping[str, Any], given: set[str]) -> Iterator[str]:
        """Yield the mistakes in combinations of the valid values. `given` has the names that are set."""

    def read(self, parsed: Mapping[str, Any]) -> Any:
        """Return the options of this table."""


def tables(names: Iterable[str]) -> dict[str, Table]:
    """Return the tables that have one of the settings `names`, by the name of their module."""
    wanted = set(names)
    modules = dict.fromkeys(module for name, module in MODULE_OF.items() if name in wanted)
    return {module: cast("Table", import_module(f"{__name__}.{module}")) for module in modules}
