"""Server of moto, a second implementation of S3 next to SeaweedFS, in a thread of the test process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "moto", "AWS_SECRET_ACCESS_KEY": "moto"}


class MotoS3:
    """A running server, and functions that read what it holds."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self._url,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which any AWS SDK uses this server."""
        return {"AWS_ENDPOINT_URL_S3": self._url, "AWS_REGION": REGION} | KEYS

    async def create_bucket(self, bucket: str) -> None:
        """Create an empty bucket."""
        location = {"LocationConstraint": REGION}
        await asyncio.to_thread(self._client.create_bucket, Bucket=bucket, CreateBucketConfiguration=location)

    async def get(self, bucket: str, key: str) -> tuple[bytes, Mapping[str, str], str]:
        """Return body, metadata and content type of an object. Raise ClientError if it does not exist."""

        def read() -> tuple[bytes, Mapping[str, str], str]:
            response = self._client.get_object(Bucket=bucket, Key=key)
            return response["Body"].read(), response["Metadata"], response["ContentType"]

        return await asyncio.to_thread(read)

    async def head(self, bucket: str, key: str) -> dict[str, Any]:
        """Return the response to HeadObject."""
        response: dict[str, Any] = await asyncio.to_thread(self._client.head_object, Bucket=bucket, Key=key)
        return response

    async def tags(self, bucket: str, key: str) -> dict[str, str]:
        """Return the tags of an object."""
        response = await asyncio.to_thread(self._client.get_object_tagging, Bucket=bucket, Key=key)
        return {tag["Key"]: tag["Value"] for tag in response["TagSet"]}

    async def list_keys(self, bucket: str) -> list[str]:
        """Return all keys of a bucket."""
        response = await asyncio.to_thread(self._client.list_objects_v2, Bucket=bucket)
        return [entry["Key"] for entry in response.get("Contents", [])]


@contextlib.contextmanager
def moto_s3() -> Iterator[MotoS3]:
    """Run the server as long as the context is active."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield MotoS3(port)
    finally:
        server.stop()
