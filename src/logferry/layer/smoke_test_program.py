"""Program of the smoke test: the tree's interpreter runs it with the modules of the tree only.

    python -I -S -B -X utf8 smoke_test_program.py SITE ENDPOINT

Guarantees:
- The sink stores an object in each bucket of `smoke_test.EXPECTED`, and is rejected by one more
  bucket.
- The only credentials are those of the container endpoint.
- The program ends with a traceback if a module or a file is missing.
"""

import sys

SITE, ENDPOINT = sys.argv[1:]
sys.path.append(SITE)

import asyncio  # noqa: E402 - the modules of the tree are found from here on
import os  # noqa: E402
import ssl  # noqa: E402, F401 - the client needs it on Lambda, though not on loopback

import structlog  # noqa: E402, F401

from logferry import log  # noqa: E402, F401
from logferry.errors import SinkError, SinkRejected  # noqa: E402
from logferry.flush import uploader  # noqa: E402, F401
from logferry.listener import server  # noqa: E402, F401
from logferry.records.model import StoredObject  # noqa: E402
from logferry.shipper import lifecycle  # noqa: E402, F401
from logferry.shipper import main as shipper_main  # noqa: E402, F401
from logferry.sink.s3 import S3Sink  # noqa: E402
from logferry.supervisor import supervisor  # noqa: E402, F401

OBJECT = StoredObject(
    key="object",
    body=b"content",
    metadata={"records": "1"},
    content_type="application/x-ndjson",
)
ATTEMPTS = 2
"""Number of attempts. A sink may use another client after the first failure."""


async def store(bucket: str, *, endpoint: str = ENDPOINT) -> None:
    """Store the object in a bucket. Raises the error of the last attempt."""
    os.environ["AWS_ENDPOINT_URL_S3"] = endpoint
    sink = S3Sink(bucket=bucket, prefix="", region="eu-central-1", timeout_seconds=5.0)
    try:
        for left in range(ATTEMPTS - 1, -1, -1):
            try:
                return await sink.put(OBJECT)
            except SinkError:
                if not left:
                    raise
    finally:
        await sink.close()


async def main() -> None:
    """Store in every bucket, check one rejection, then store through a proxy."""
    os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{ENDPOINT}/credentials"
    os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "token"  # noqa: S105 - only the stub of the smoke test reads it
    await store("plain")
    await store("moved")
    await store("session--euc1-az1--x-s3")
    try:
        await store("denied")
    except SinkRejected as rejection:
        if "AccessDenied" not in str(rejection):
            raise
    else:
        raise AssertionError("the sink reported success although S3 denied the request")
    os.environ["HTTP_PROXY"] = ENDPOINT
    os.environ["NO_PROXY"] = "127.0.0.1"
    await store("proxied", endpoint="http://s3.proxied.invalid")


asyncio.run(main())
