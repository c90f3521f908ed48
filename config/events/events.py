"""Send events and metrics to logferry.

>>> send_event({"event": "order placed", "orderId": 4711, "requestId": context.aws_request_id})
>>> send_event({"metric": "orders", "value": 3, "unit": "Count", "requestId": context.aws_request_id})
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 0.5
_local = threading.local()


def send_event(event: dict[str, object]) -> bool:
    """Send one event; return whether it is stored. The connection is kept open for the next event."""
    try:
        body = json.dumps(event)
    except (TypeError, ValueError):
        return False
    for _ in range(2):
        connection = getattr(_local, "connection", None)
        is_reused = connection is not None
        try:
            if connection is None:
                connection = _local.connection = http.client.HTTPConnection(_address(), timeout=TIMEOUT_SECONDS)
            connection.request("POST", "/events", body)
            with connection.getresponse() as response:
                response.read()
                return response.status == 200
        except (http.client.HTTPException, OSError, ValueError) as error:
            if connection is not None:
                connection.close()
            _local.connection = None
            # The server may have closed an idle connection. Any other failure would repeat.
            if not (is_reused and isinstance(error, (http.client.RemoteDisconnected, ConnectionError))):
                return False
    return False


def _address() -> str:
    try:
        with open(os.environ.get("LOGFERRY_SPOOL_DIR", "/tmp/logferry") + "/events-url") as file:
            return urlsplit(file.read().strip()).netloc
    except OSError:
        return "127.0.0.1:" + os.environ.get("LOGFERRY_PORT", "9513")
