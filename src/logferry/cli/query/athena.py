"""A query in Athena: start it, wait for its end, and print its rows and its price.

Guarantees:
- Ctrl-C stops the query in Athena too.
- The wait has a limit, and a failed query is one sentence with Athena's reason.

Design: Athena sends no event, so its state is read every `POLL_SECONDS`, as its own client does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.cost.prices import load_reading
from logferry.cli.fetch.request_usage import usd_text
from logferry.cli.fetch.terminal import error_console, size_text
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 1.0
MAX_SECONDS = 1800.0
"""Time limit of a query, in seconds. Athena's own limit is 30 minutes."""
MIN_BYTES = 10_000_000
"""Number of bytes for which each query is billed at least (Athena pricing)."""
_TB = 10**12
_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


def run(query: str, *, workgroup: str, database: str, as_json: bool, client: Any = None) -> int:
    """Run a query, print its rows, and return 0. Raise DestinationError with Athena's reason."""
    try:
        athena = client or boto3.client("athena")
        started = athena.start_query_execution(
            QueryString=query, WorkGroup=workgroup, QueryExecutionContext={"Database": database}
        )
        execution = _wait(athena, started["QueryExecutionId"])
        rows = _rows(athena, started["QueryExecutionId"])
        _show(next(rows, []), rows, as_json=as_json)
    except (BotoCoreError, ClientError) as error:
        raise DestinationError(
            f"Athena: {error}; the query needs athena:StartQueryExecution, athena:GetQueryExecution, "
            "athena:GetQueryResults and the permissions on the tables, the objects and the result location"
        ) from error
    scanned = execution.get("Statistics", {}).get("DataScannedInBytes", 0)
    price = usd_text(load_reading()["athena_scan"].of(max(scanned, MIN_BYTES) / _TB))
    error_console().print(f"Athena scanned {size_text(scanned)}; {price} and the GETs of the objects", style="dim")
    return 0


def _wait(athena: Any, identifier: str) -> dict[str, Any]:
    """Return the finished execution. Raise DestinationError if it failed or takes too long."""
    deadline = time.monotonic() + MAX_SECONDS
    try:
        while time.monotonic() < deadline:
            execution: dict[str, Any] = athena.get_query_execution(QueryExecutionId=identifier)["QueryExecution"]
            state = execution["Status"]["State"]
            if state in _ENDED:
                break
            time.sleep(POLL_SECONDS)
        else:
            athena.stop_query_execution(QueryExecutionId=identifier)
            raise DestinationError(f"Athena: the query {identifier} was stopped after {MAX_SECONDS:.0f} s")
    except KeyboardInterrupt:
        athena.stop_query_execution(QueryExecutionId=identifier)
        raise
    if state != "SUCCEEDED":
        reason = execution["Status"].get("StateChangeReason", "without a reason")
        raise DestinationError(
            f"Athena: the query is {state.lower()}: {reason}; define the tables with `logferry tables --engine athena`"
        )
    return execution


def _rows(athena: Any, identifier: str) -> Iterator[list[str | None]]:
    """Yield the names of the columns, then each row."""
    for page in athena.get_paginator("get_query_results").paginate(QueryExecutionId=identifier):
        for row in page["ResultSet"]["Rows"]:
            yield [cell.get("VarCharValue") for cell in row["Data"]]


def _show(names: list[str | None], rows: Iterator[list[str | None]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(Text(name or ""), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell or "") for cell in row))
    Console().print(table)
