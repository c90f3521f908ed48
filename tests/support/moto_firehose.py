"""Streams of moto that deliver to buckets of moto, in the same server as `moto_s3`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.moto_s3 import MotoS3

PREFIX = "firehose"


class MotoStream:
    """A stream with the source Direct PUT, and the objects that it delivers."""

    def __init__(self, server: MotoS3, name: str) -> None:
        self.name = name
        self._server = server
        environment = server.environment
        self.environment: Mapping[str, str] = {
            **{name: value for name, value in environment.items() if name != "AWS_ENDPOINT_URL_S3"},
            "AWS_ENDPOINT_URL_FIREHOSE": environment["AWS_ENDPOINT_URL_S3"],
        }
        """Variables with which any AWS SDK uses this stream."""
        self._client: Any = boto3.client(
            "firehose",
            endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )

    async def create(self) -> None:
        """Create the bucket and the stream."""
        await self._server.create_bucket(self.name)
        await asyncio.to_thread(
            self._client.create_delivery_stream,
            DeliveryStreamName=self.name,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{self.name}",
                "Prefix": PREFIX,
            },
        )

    async def keys(self) -> list[str]:
        """Return the keys of the delivered objects."""
        return await self._server.list_keys(self.name)

    async def delivered(self) -> bytes:
        """Return the bodies of all objects, in the order of their keys."""
        return b"".join([(await self._server.get(self.name, key))[0] for key in await self.keys()])
