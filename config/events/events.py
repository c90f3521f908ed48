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
    for _ in range(2):  # an idle connection may have been closed by the server
        connection = getattr(_local, "connection", None)
        try:
            if connection is None:
                connection = _local.connection = http.client.HTTPConnection(_address(), timeout=TIMEOUT_SECONDS)
            connection.request("POST", "/events", body)
            with connection.getresponse() as response:
                response.read()
                return response.status == 200
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
            _local.connection = None
        except (http.client.HTTPException, OSError):
            connection.close()
            _local.connection = None
            return False
    return False


def _address() -> str:
    try:
        with open(os.environ.get("LOGFERRY_SPOOL_DIR", "/tmp/logferry") + "/events-url") as file:
            return urlsplit(file.read().strip()).netloc
    except OSError:
        return "127.0.0.1:" + os.environ.get("LOGFERRY_PORT", "9513")
