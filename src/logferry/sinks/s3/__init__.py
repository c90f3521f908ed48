"""Amazon S3 and compatible stores, through logferry's own client or the AWS SDK.

Guarantees:
- The client is chosen once, from the bucket, the region and the environment, before anything is
  sent.
- The AWS SDK is imported only if the configuration needs it or the setting requests it. The reason
  is logged once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.log import get_logger
from logferry.sinks.s3.endpoint import needs_sdk
from logferry.sinks.s3.sink import S3Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.sinks.base import Sink


def open_sink(
    bucket: str,
    prefix: str,
    environ: Mapping[str, str],
    timeout_seconds: float,
    client: str = "auto",
    *,
    object_headers: Mapping[str, str] | None = None,
) -> Sink:
    """Return the sink for a bucket; `client` is `auto`, or `sdk` to use the AWS SDK in any case.

    `object_headers` are further headers of each PutObject request, such as `x-amz-storage-class`.
    """
    further = object_headers or {}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    reason = "LOGFERRY_S3_CLIENT=sdk" if client == "sdk" else needs_sdk(bucket, region, environ)
    if not reason and region:
        return S3Sink(
            bucket=bucket,
            prefix=prefix,
            region=region,
            environ=environ,
            timeout_seconds=timeout_seconds,
            object_headers=further,
        )
    return _open_sdk_sink(
        bucket, prefix, region, timeout_seconds, reason or "AWS_REGION is not set", object_headers=further
    )


def _open_sdk_sink(
    bucket: str,
    prefix: str,
    region: str | None,
    timeout_seconds: float,
    reason: str,
    *,
    object_headers: Mapping[str, str],
) -> Sink:
    try:
        from logferry.sinks.s3.sdk import S3SdkSink  # noqa: PLC0415 - costs 130 ms of CPU time and 16 MB
    except ImportError as error:
        from logferry.sinks.unusable import UnusableSink  # noqa: PLC0415 - only the slim layer lacks the SDK

        return UnusableSink(
            f"{reason}, so the AWS SDK is needed, but it cannot be imported ({error}); use the full layer"
        )
    get_logger().info("the AWS SDK is the S3 client", reason=reason)
    return S3SdkSink(
        bucket=bucket, prefix=prefix, region=region, timeout_seconds=timeout_seconds, object_headers=object_headers
    )
