"""Amazon S3 and compatible stores, through logferry's own client or the AWS SDK.

Guarantees:
- The client is chosen once, from the bucket, the region and the environment, before anything is
  sent.
- The AWS SDK is imported only if the configuration needs it or the setting requests it. The reason
  is logged once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logferry.log import get_logger
from logferry.sinks.s3.endpoint import needs_sdk
from logferry.sinks.s3.sink import S3Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.aws.credential_provider import CredentialProvider
    from logferry.aws.role import Role
    from logferry.sinks.base import Sink


def open_sink(
    bucket: str,
    prefix: str,
    environ: Mapping[str, str],
    timeout_seconds: float,
    client: str = "auto",
    *,
    object_headers: Mapping[str, str] | None = None,
    role: Role | None = None,
    names: Mapping[str, str] | None = None,
) -> Sink:
    """Return the sink for a bucket; `client` is `auto`, or `sdk` to use the AWS SDK in any case.

    `object_headers` are further headers of each PutObject request, such as `x-amz-storage-class`.
    `role` is assumed with the credentials in `environ`.
    `names` has the AWS variables that settings replace in `environ`, and the names of these settings.
    """
    further = object_headers or {}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    reason = "LOGFERRY_S3_CLIENT=sdk" if client == "sdk" else needs_sdk(bucket, region, environ)
    if role and not reason:
        from logferry.aws import sts  # noqa: PLC0415 - most functions assume no role

        reason = sts.needs_sdk(role, environ)
    sink: Sink
    if not reason and region:
        sink = S3Sink(
            bucket=bucket,
            prefix=prefix,
            region=region,
            environ=environ,
            timeout_seconds=timeout_seconds,
            object_headers=further,
            credentials=_assumed(role, environ) if role else None,
        )
    else:
        sink = _open_sdk_sink(
            _named(reason or "AWS_REGION is not set", names),
            bucket=bucket,
            prefix=prefix,
            region=region,
            timeout_seconds=timeout_seconds,
            object_headers=further,
            environ=environ,
            replaced=frozenset(name for name in names or () if name.startswith("AWS_")),
            role=role,
        )
    if not names:
        return sink
    from logferry.sinks.named_settings import NamedSettingsSink  # noqa: PLC0415 - most functions set none of them

    return NamedSettingsSink(sink, names)


def _assumed(role: Role, environ: Mapping[str, str]) -> CredentialProvider:
    from logferry.aws.assumed_role import AssumedRole  # noqa: PLC0415 - most functions assume no role
    from logferry.aws.credentials import CredentialSource  # noqa: PLC0415 - imported already

    return AssumedRole(role, CredentialSource(environ), environ)


def _named(reason: str, names: Mapping[str, str] | None) -> str:
    if not names:
        return reason
    from logferry.aws.variable_names import renamed  # noqa: PLC0415 - most functions set none of them

    return renamed(reason, names)


def _open_sdk_sink(reason: str, **options: Any) -> Sink:
    try:
        from logferry.sinks.s3.sdk import S3SdkSink  # noqa: PLC0415 - costs 130 ms of CPU time and 16 MB
    except ImportError as error:
        from logferry.sinks.unusable import UnusableSink  # noqa: PLC0415 - only the slim layer lacks the SDK

        return UnusableSink(
            f"{reason}, so the AWS SDK is needed, but it cannot be imported ({error}); use the full layer"
        )
    get_logger().info("the AWS SDK is the S3 client", reason=reason)
    return S3SdkSink(**options)
