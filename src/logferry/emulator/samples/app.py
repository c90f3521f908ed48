"""A sample function, for `python -m awslambdaric logferry.emulator.samples.app.handler`.

The keys of the event are optional and processed in this order:

| key | effect |
|---|---|
| `lines` | number of lines to print |
| `marker` | prefix of each line, followed by `-0`, `-1` … |
| `bytes` | minimum length of each line |
| `log` | message for the logging module |
| `get` | list of URLs to request, in this order |
| `sleep_ms` | pause in milliseconds |
| `exit` | exit code of the process |
| `raise` | message of an exception |

The response repeats the event.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

MILLISECONDS = 1000.0
REQUEST_SECONDS = 2.0
"""Timeout of a request, in seconds."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Process the keys of the event and return it."""
    marker = event.get("marker", "line")
    for number in range(event.get("lines", 1)):
        sys.stdout.write(f"{marker}-{number}".ljust(event.get("bytes", 0), ".") + "\n")
    if "log" in event:
        logging.getLogger().warning(event["log"])
    for url in event.get("get", ()):
        _get(url)
    time.sleep(event.get("sleep_ms", 0) / MILLISECONDS)
    if "exit" in event:
        sys.stdout.flush()
        os._exit(event["exit"])
    if "raise" in event:
        raise RuntimeError(event["raise"])
    return event


def _get(url: str) -> None:
    """Request a URL and read the response, whatever its status is."""
    import urllib.error  # noqa: PLC0415 - most events request none
    import urllib.request  # noqa: PLC0415

    try:
        with urllib.request.urlopen(url, timeout=REQUEST_SECONDS) as response:  # noqa: S310 - the event chooses the URL
            response.read()
    except urllib.error.HTTPError as error:
        error.close()
