"""A function that makes the HTTP calls of its event, with the clients that people use.

| key of the event | effect |
|---|---|
| `calls` | list of calls: `client`, `url`, and optionally `method`, `body`, `headers`, `timeout`, `retries` |
| `state` | add `PYTHONPATH`, `sys.path` and the name of `sitecustomize` to the response |
| `threads` | number of threads, each of which makes all calls |

The response has, for each call, the status and the text, or the class of the exception, and the elapsed milliseconds.
Clients are imported when they are used for the first time, as in many functions.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import Any


def _urllib(call: dict[str, Any]) -> tuple[int, str]:
    import urllib.error  # noqa: PLC0415 - see above
    import urllib.request  # noqa: PLC0415

    data = call["body"].encode() if "body" in call else None
    request = urllib.request.Request(call["url"], data, call.get("headers", {}), method=call.get("method"))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=call.get("timeout", 10)) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _requests(call: dict[str, Any]) -> tuple[int, str]:
    import requests  # noqa: PLC0415

    with requests.Session() as session:
        response = session.request(
            call.get("method", "GET"), call["url"], data=call.get("body"), headers=call.get("headers"),
            timeout=call.get("timeout", 10),
        )  # fmt: skip
        return response.status_code, response.text


def _urllib3(call: dict[str, Any]) -> tuple[int, str]:
    import urllib3  # noqa: PLC0415

    number = call.get("retries", 0)
    retries = urllib3.Retry(
        connect=number, read=number, status=number, other=number, status_forcelist=[503], raise_on_status=False
    )
    with urllib3.PoolManager(ca_certs=os.environ.get("SSL_CERT_FILE")) as manager:
        response = manager.request(
            call.get("method", "GET"), call["url"], body=call.get("body"), headers=call.get("headers"),
            timeout=call.get("timeout", 10), retries=retries,
        )  # fmt: skip
        return response.status, response.data.decode()


def _httpx(call: dict[str, Any]) -> tuple[int, str]:
    import httpx  # noqa: PLC0415

    response = httpx.request(
        call.get("method", "GET"), call["url"], content=call.get("body"), headers=call.get("headers"),
        timeout=call.get("timeout", 10), follow_redirects=True,
    )  # fmt: skip
    return response.status_code, response.text


def _httpx_async(call: dict[str, Any]) -> tuple[int, str]:
    import httpx  # noqa: PLC0415

    async def run() -> tuple[int, str]:
        async with httpx.AsyncClient(timeout=call.get("timeout", 10), follow_redirects=True) as client:
            response = await client.request(
                call.get("method", "GET"), call["url"], content=call.get("body"), headers=call.get("headers")
            )
            return response.status_code, response.text

    return asyncio.run(run())


def _aiohttp(call: dict[str, Any]) -> tuple[int, str]:
    import aiohttp  # noqa: PLC0415

    async def run() -> tuple[int, str]:
        limit = aiohttp.ClientTimeout(total=call.get("timeout", 10))
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(
                call.get("method", "GET"), call["url"], data=call.get("body"), headers=call.get("headers")
            ) as response,
        ):
            return response.status, await response.text()

    return asyncio.run(run())


def _boto3(call: dict[str, Any]) -> tuple[int, str]:
    import boto3  # noqa: PLC0415
    import botocore.config  # noqa: PLC0415
    import botocore.exceptions  # noqa: PLC0415

    endpoint, _, key = call["url"].removeprefix("https://").partition("/")
    client = boto3.client(
        "s3", endpoint_url=f"https://{endpoint}", region_name="us-east-1", aws_access_key_id="key",
        aws_secret_access_key="secret",  # noqa: S106 - accepted by the test's server
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=call.get("timeout", 10)
        ),
    )  # fmt: skip
    bucket, _, name = key.partition("/")
    try:
        response = client.get_object(Bucket=bucket, Key=name)
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Body"].read().decode()
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], ""


CLIENTS = {
    "urllib": _urllib,
    "requests": _requests,
    "urllib3": _urllib3,
    "httpx": _httpx,
    "httpx-async": _httpx_async,
    "aiohttp": _aiohttp,
    "boto3": _boto3,
}


def make(call: dict[str, Any]) -> dict[str, Any]:
    """Make one call and return its result."""
    began = time.monotonic()
    try:
        status, text = CLIENTS[call["client"]](call)
        result: dict[str, Any] = {"status": status, "text": text}
    except Exception as error:  # noqa: BLE001 - the tests compare its class and its text
        result = {"error": type(error).__name__}
    return result | {"ms": (time.monotonic() - began) * 1000}


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Make the calls of the event."""
    response: dict[str, Any] = {"results": []}
    if "threads" in event:
        threads = [
            threading.Thread(target=lambda: [make(call) for call in event["calls"]]) for _ in range(event["threads"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        response["results"] = [make(call) for call in event.get("calls", [])]
    if event.get("state"):
        response["pythonpath"] = os.environ.get("PYTHONPATH")
        response["path"] = sys.path
    return response
