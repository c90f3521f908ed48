"""Program of the smoke test: the tree's interpreter runs it with the modules of the tree only.

    python -I -S -B -X utf8 smoke_test_program.py SITE ENDPOINT full|slim

Guarantees:
- Both S3 clients store an object in each of their buckets, and the own client is rejected by one
  more bucket. In a slim tree, the buckets of the SDK are rejected with the reason and the remedy.
- An object is sent to a receiver on the web, and a proxy is asked for a tunnel.
- Expressions are compiled, and Zstandard compresses.
- A configuration file with a reference is read.
- The only credentials are those of the container endpoint.
- The program ends with a traceback if a module or a file is missing.
"""

import sys

SITE, ENDPOINT, KIND = sys.argv[1:]
sys.path.append(SITE)

import asyncio  # noqa: E402 - the modules of the tree are found from here on
import os  # noqa: E402
import ssl  # noqa: E402, F401 - the clients need it on Lambda, though not on loopback

import structlog  # noqa: E402, F401

from logferry import log  # noqa: E402, F401
from logferry.errors import SinkError, SinkRejected  # noqa: E402
from logferry.flush import uploader  # noqa: E402, F401
from logferry.http_client import tls  # noqa: E402
from logferry.listener import server  # noqa: E402, F401
from logferry.records.model import StoredObject  # noqa: E402
from logferry.shipper import lifecycle  # noqa: E402, F401
from logferry.shipper import main as shipper_main  # noqa: E402, F401
from logferry.sinks.s3 import open_sink  # noqa: E402
from logferry.supervisor import supervisor  # noqa: E402, F401

OBJECT = StoredObject(
    key="object",
    body=b"content",
    metadata={"environment": "0a1b", "segment": "1", "records": "1"},
    content_type="application/x-ndjson",
)
TIMEOUT_SECONDS = 5.0


async def store(bucket: str, *, client: str = "auto") -> None:
    """Store the object in a bucket, with the client that the configuration requires."""
    await open_sink(bucket, "", os.environ, TIMEOUT_SECONDS, client).put(OBJECT)


async def expect_rejection(bucket: str, *words: str, client: str = "auto") -> None:
    """Require that a bucket rejects the object with a message that contains the words."""
    try:
        await store(bucket, client=client)
    except SinkRejected as rejection:
        if missing := [word for word in words if word not in str(rejection)]:
            raise AssertionError(f"{bucket}: {missing} not in the message: {rejection}") from rejection
    else:
        raise AssertionError(f"{bucket}: the sink reported success")


async def use_own_client() -> None:
    """Store with the own client, and check one rejection."""
    await store("own")
    await store("own-redirected")
    await expect_rejection("denied", "AccessDenied")
    if loaded := {name.split(".")[0] for name in sys.modules} & {"aioboto3", "aiohttp", "botocore"}:
        raise AssertionError(f"the own client has loaded {sorted(loaded)}")
    if not tls.complete_bundle():
        raise AssertionError("the tree has no bundle of certificate authorities")


async def use_receiver() -> None:
    """Send the object to a receiver on the web: directly, and through a proxy. The stub supports neither."""
    from logferry.sinks import https  # noqa: PLC0415 - the S3 clients must work without this module

    port = int(ENDPOINT.rpartition(":")[2])
    for environ in ({}, {"HTTPS_PROXY": ENDPOINT}):
        sink = https.open_sink(
            scheme="https" if environ else "http",
            authority="receiver.invalid" if environ else f"127.0.0.1:{port}",
            address=("receiver.invalid", 443) if environ else ("127.0.0.1", port),
            path="/logs",
            form="otlp",
            compression="none",
            headers={},
            environ=environ,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        try:
            await sink.put(OBJECT)
        except SinkError as error:
            if "501" not in str(error):
                raise AssertionError(f"the receiver: 501 not in the message: {error}") from error
        else:
            raise AssertionError("the receiver: the sink reported success")


def read_settings_from_a_file() -> None:
    """Read a configuration file with a reference, and import the modules that resolve it."""
    import tempfile  # noqa: PLC0415 - the clients must work without these modules

    from logferry.references import resolver  # noqa: PLC0415, F401
    from logferry.settings import Settings  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write('destination = "ssm:/logs/destination"\n')
        file.flush()
        settings = Settings.from_environ({"LOGFERRY_CONFIG": file.name})
    if settings.references is None:
        raise AssertionError("the reference in the file was not found")


def process_records() -> None:
    """Use the extension modules of expressions and of Zstandard, which the clients do not import."""
    from logferry.options import records  # noqa: PLC0415 - the clients must work without these modules
    from logferry.records import zstd_packing  # noqa: PLC0415

    values = {row.name: row.parse(row.default) for row in records.SETTINGS}
    (masks,) = (row.parse("email") for row in records.SETTINGS if row.name == "MASK")
    options = records.read({**values, "MASK": masks})
    if options.processing is None or options.processing.masker is None:
        raise AssertionError("LOGFERRY_MASK has no effect")
    if (masked := options.processing.masker.text("to a@b.io")) != "to [email]":
        raise AssertionError(f"the masked text is {masked!r}")
    packer = zstd_packing.packing().make()
    if not packer.compress(b"x" * 1000) + packer.flush():
        raise AssertionError("zstd has compressed nothing")


def expect_missing_patterns() -> None:
    """Require that a pattern is a mistake whose remedy is the full layer."""
    from logferry.records import patterns  # noqa: PLC0415

    try:
        patterns.Pattern("a+")
    except ValueError as error:
        if "full layer" not in str(error):
            raise AssertionError(f"the remedy is missing: {error}") from None
    else:
        raise AssertionError("a slim tree has compiled a pattern")


async def use_sdk() -> None:
    """Store with the AWS SDK: on request, in another region, in a directory bucket, and through a proxy."""
    await store("sdk", client="sdk")
    await store("sdk-moved", client="sdk")
    await store("session--euc1-az1--x-s3")
    configure_proxy()
    await store("proxied")


async def expect_missing_sdk() -> None:
    """Require that each configuration for the SDK is rejected with the reason and the remedy."""
    await expect_rejection("sdk", "LOGFERRY_S3_CLIENT=sdk", "full layer", client="sdk")
    await expect_rejection("session--euc1-az1--x-s3", "S3 Express", "full layer")
    configure_proxy()
    await expect_rejection("proxied", "HTTP_PROXY", "full layer")


def configure_proxy() -> None:
    """Name an endpoint that only the proxy reaches."""
    os.environ["AWS_ENDPOINT_URL_S3"] = "http://s3.proxied.invalid"
    os.environ["HTTP_PROXY"] = ENDPOINT
    os.environ["NO_PROXY"] = "127.0.0.1"


async def main() -> None:
    """Use both clients; in a slim tree, the own client only."""
    os.environ["AWS_REGION"] = "eu-central-1"
    os.environ["AWS_ENDPOINT_URL_S3"] = ENDPOINT
    os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{ENDPOINT}/credentials"
    os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "token"  # noqa: S105 - only the stub of the smoke test reads it
    await use_own_client()
    await use_receiver()
    read_settings_from_a_file()
    if KIND == "full":
        process_records()
        await use_sdk()
    else:
        expect_missing_patterns()
        await expect_missing_sdk()


asyncio.run(main())
