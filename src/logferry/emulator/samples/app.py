"""A function that does as its event says, for `python -m awslambdaric logferry.emulator.samples.app.handler`.

Keys of the event, all optional, done in this order: `lines` how many lines to print, `marker` what they begin with
(then `-0`, `-1` …), `bytes` how long each is at least, `log` a message for the logging module, `sleep_ms`, `exit` a
code to end the process with, `raise` the message of an exception. The answer repeats the event.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

MILLISECONDS = 1000.0


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Print, log, sleep, exit, raise or return, as asked."""
    marker = event.get("marker", "line")
    for number in range(event.get("lines", 1)):
        sys.stdout.write(f"{marker}-{number}".ljust(event.get("bytes", 0), ".") + "\n")
    if "log" in event:
        logging.getLogger().warning(event["log"])
    time.sleep(event.get("sleep_ms", 0) / MILLISECONDS)
    if "exit" in event:
        sys.stdout.flush()
        os._exit(event["exit"])
    if "raise" in event:
        raise RuntimeError(event["raise"])
    return event
