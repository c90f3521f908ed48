"""The naive shipper, the usual first implementation. It works, and logferry is compared with it.

aiohttp and aioboto3 are imported first, and records are held in a list in memory. Each invocation
ends with one object: wait for `platform.runtimeDone`, write NDJSON, gzip it, `put_object`, request
the next event. The client is kept for the lifetime of the process, which is already better than the
usual example.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import uuid
from typing import Any

import aioboto3
import aiohttp
from aiohttp import web

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"
BUCKET = os.environ["NAIVE_BUCKET"]
MAX_BODY_BYTES = 4 * 1024 * 1024


class Shipper:
    """Records in a list, and the requests whose runtime is done."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.records: list[dict[str, Any]] = []
        self.done: set[str] = set()
        self.changed = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        """Accept a batch."""
        for event in await request.json():
            self.records.append(event)
            if event["type"] == "platform.runtimeDone":
                self.done.add(event["record"]["requestId"])
        self.changed.set()
        return web.Response()

    async def wait_until_done(self, request_id: str) -> None:
        """Wait for the end of an invocation."""
        while request_id not in self.done:
            self.changed.clear()
            await self.changed.wait()
        self.done.discard(request_id)

    async def flush(self) -> None:
        """Store the pending records as one object."""
        if not self.records:
            return
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        await self.s3.put_object(
            Bucket=BUCKET,
            Key=f"logs/{uuid.uuid4()}.ndjson.gz",
            Body=gzip.compress(lines.encode()),
            Metadata={"records": str(len(self.records))},
        )
        self.records.clear()


async def register(http: aiohttp.ClientSession, port: int) -> dict[str, str]:
    """Register and subscribe; return the header that identifies this extension."""
    name = {"Lambda-Extension-Name": "naive"}
    events = {"events": ["INVOKE", "SHUTDOWN"]}
    async with http.post(f"{API}/2020-01-01/extension/register", json=events, headers=name) as answer:
        identity = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    subscription = {
        "schemaVersion": "2022-12-13",
        "types": ["platform", "function"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}"},
    }
    async with http.put(f"{API}/2022-07-01/telemetry", json=subscription, headers=identity) as answer:
        answer.raise_for_status()
    return identity


async def main() -> None:
    """Run until SHUTDOWN."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with aioboto3.Session().client("s3") as s3, aiohttp.ClientSession(timeout=timeout) as http:
        shipper = Shipper(s3)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/", shipper.receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "0.0.0.0", 0)
        await site.start()
        identity = await register(http, runner.addresses[0][1])
        while True:
            async with http.get(f"{API}/2020-01-01/extension/event/next", headers=identity) as answer:
                event = await answer.json()
            if event["eventType"] == "INVOKE":
                await shipper.wait_until_done(event["requestId"])
            await shipper.flush()
            if event["eventType"] == "SHUTDOWN":
                break
        await runner.cleanup()


asyncio.run(main())
