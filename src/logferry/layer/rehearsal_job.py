"""What the tree's interpreter does in the rehearsal; run as a program by it, with the modules of the tree alone.

    python -I -S -B -X utf8 rehearsal_job.py SITE ENDPOINT

The sink of the tree stores an object in each of the buckets that `rehearsal` plays, and must be refused by one. It has
no credentials but those of the container endpoint. Ends with a traceback where anything is missing.
"""

import sys

SITE, ENDPOINT = sys.argv[1:]
sys.path.append(SITE)

import asyncio  # noqa: E402 - all that follows is the tree's
import os  # noqa: E402
import ssl  # noqa: E402, F401 - not needed on loopback, but on Lambda

import structlog  # noqa: E402, F401

from logferry import app, listener, messages, shipper, supervisor, uploader  # noqa: E402, F401
from logferry.encode import StoredObject  # noqa: E402
from logferry.errors import SinkError, SinkRejected  # noqa: E402
from logferry.sink.s3 import S3Sink  # noqa: E402

CARGO = StoredObject(
    key="object",
    body=b"cargo",
    metadata={"records": "1"},
    content_type="application/x-ndjson",
    content_encoding=None,
)
TRIES = 2
"""A sink may take the short way first, and the client, which finds every way, after a failure."""


async def store(bucket: str, *, endpoint: str = ENDPOINT) -> None:
    """Store the cargo in a bucket; raises what the last try has raised."""
    os.environ["AWS_ENDPOINT_URL_S3"] = endpoint
    sink = S3Sink(bucket=bucket, prefix="", region="eu-central-1", timeout_seconds=5.0)
    try:
        for left in range(TRIES - 1, -1, -1):
            try:
                return await sink.put(CARGO)
            except SinkError:
                if not left:
                    raise
    finally:
        await sink.close()


async def main() -> None:
    """Store in every bucket, be refused by one, then go by a proxy."""
    os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{ENDPOINT}/credentials"
    os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "token"  # noqa: S105 - checked by our own stand-in alone
    await store("plain")
    await store("moved")
    await store("session--euc1-az1--x-s3")
    try:
        await store("refused")
    except SinkRejected as refusal:
        if "AccessDenied" not in str(refusal):
            raise
    else:
        raise AssertionError("the sink took a refusal for success")
    os.environ["HTTP_PROXY"] = ENDPOINT
    os.environ["NO_PROXY"] = "127.0.0.1"
    await store("proxied", endpoint="http://s3.rehearsal.invalid")


asyncio.run(main())
