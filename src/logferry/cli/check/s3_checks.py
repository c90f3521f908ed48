"""Checks of a destination in S3: credentials, client, network, bucket, permissions.

Guarantees:
- The canary is stored by the client that the extension uses for these settings, with the same headers.
- A missing permission is named, with an IAM statement for this bucket, prefix and key.
- Permissions that the extension does not need are no fault: without `s3:DeleteObject`, the canary remains.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.aws.timestamps import parse_http_date
from logferry.cli.check import aws_requests, s3_put
from logferry.cli.check.aws_requests import AwsAccess, RequestError
from logferry.cli.check.credentials import apply, find_credentials, identity_step
from logferry.cli.check.denial import action_in
from logferry.cli.check.iam_statements import LIST, Target, statements
from logferry.cli.check.network import RESOLVE, network_steps, proxy_steps
from logferry.cli.check.result import Step
from logferry.cli.check.s3_setup import S3Setup, assume, named, setup_of, sts_access
from logferry.http_client.proxies import proxy_variable
from logferry.sinks.s3 import endpoint
from logferry.sinks.s3.errors import CONNECTION_REMEDIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logferry.aws.sigv4 import Credentials
    from logferry.cli.check.context import Context

CLOCK_SECONDS = 300
"""Difference of the clocks that is reported, in seconds. S3 refuses signatures that differ by more than 900."""
_NOT_FOUND = 404
_GET, _DELETE = "s3:GetObject", "s3:DeleteObject"
_LEFT = "delete it by hand, or with a lifecycle rule"


async def s3_steps(context: Context) -> AsyncIterator[Step]:
    """Yield the steps for a bucket."""
    names = setup_of(context).names
    async for step in _steps(context):
        yield named(step, names)


async def _steps(context: Context) -> AsyncIterator[Step]:
    setup = setup_of(context)
    found = await find_credentials(setup.environ, are_settings=setup.has_own_credentials)
    yield found.step
    if not found.credentials:
        return
    apply(found.variables, context.environ)
    setup, credentials = setup_of(context), found.credentials
    yield _client_step(setup, context)
    owner, account = await _identity(setup, credentials, context)
    yield owner
    if setup.role:
        step, assumed = await assume(setup, setup.role, credentials)
        yield step
        if not assumed:
            return
        credentials, account = assumed, setup.role.arn.split(":")[4]
    access, is_connected = setup.access(credentials), True
    async for step in _network(access, setup, context):
        is_connected = is_connected and step.status != "failed"
        yield step
    if is_connected:
        async for step in _objects(access, account, context):
            yield step


async def _objects(access: AwsAccess, account: str, context: Context) -> AsyncIterator[Step]:
    """Yield the steps for the bucket and its objects."""
    settings = context.settings
    async for step in _bucket(access, context):
        yield step
    headers = settings.s3.headers if settings.s3 else {}
    kms_key = headers.get("x-amz-server-side-encryption-aws-kms-key-id", "")
    place = settings.destination
    target = Target(place.bucket, place.path, access.region, account, kms_key)
    put = await s3_put.put_canary(context, target)
    yield put.step
    if context.reading:
        async for step in _reading(access, target, put.key):
            yield step
    if put.key:
        yield await _delete(access, place.bucket, put.key)


def _client_step(setup: S3Setup, context: Context) -> Step:
    reason = setup.needs_sdk(context)
    if not reason:
        return Step("client", "ok", f"logferry's own S3 client, region {setup.region}")
    remedy = "" if setup.region else "set AWS_REGION; Lambda sets it for a function"
    detail = f"the AWS SDK, because {reason}; it needs the full layer"
    return Step("client", "ok" if setup.region else "warning", detail, remedy=remedy)


async def _identity(setup: S3Setup, credentials: Credentials, context: Context) -> tuple[Step, str]:
    """Ask STS for the owner of the credentials, if they are meant for AWS."""
    access = sts_access(context, credentials)
    is_for_sts = setup.is_amazon or (access.endpoint_url and not setup.has_own_credentials) or setup.role
    if not is_for_sts:
        return Step("identity", "skipped", "the endpoint is not one of AWS"), ""
    return await identity_step(access, None if setup.has_own_credentials else context.function)


async def _network(access: AwsAccess, setup: S3Setup, context: Context) -> AsyncIterator[Step]:
    """Yield the steps for the endpoint, or for the proxy in front of it."""
    bucket = context.settings.destination.bucket
    if bucket.endswith("--x-s3"):
        yield Step(RESOLVE, "skipped", "S3 Express: the SDK chooses the host for each session")
        return
    environ = setup.environ
    # 1. logferry's own client, which uses no proxy.
    if not setup.needs_sdk(context):
        found = endpoint.resolve(bucket, access.region, environ)
        host, port, tls = found.host, found.port, found.tls
    # 2. The SDK.
    else:
        try:
            host, port, tls = await aws_requests.host_of(access, bucket, "key")
        except RequestError as error:
            remedy = "check the destination and AWS_REGION"
            yield Step(RESOLVE, "failed", f"the address is unknown: {error}", remedy=remedy)
            return
    variable = proxy_variable("https" if tls else "http", host, str(port), environ)
    if variable:
        steps = proxy_steps(variable, environ)
    else:
        steps = network_steps(host, port, environ, tls=tls, remedies=CONNECTION_REMEDIES)
    async for step in steps:
        yield step


async def _bucket(access: AwsAccess, context: Context) -> AsyncIterator[Step]:
    """Yield the steps for the region of the bucket and for the clock, both from an unsigned request."""
    bucket = context.settings.destination.bucket
    try:
        head = await aws_requests.bucket_head(access, bucket)
    except RequestError as error:
        yield Step("region", "skipped", f"unknown: {error}")
        return
    if head.region and head.region != access.region:
        yield Step(
            "region",
            "warning",
            f"the bucket is in {head.region}, and requests are signed for {access.region}",
            notes=("each new environment sends one request twice, and traffic between regions is billed",),
            remedy=f"use a bucket in {access.region}, or a function in {head.region}",
        )
    elif head.region:
        yield Step("region", "ok", head.region)
    elif head.status == _NOT_FOUND:
        yield Step("region", "skipped", f"the bucket {bucket} is not found without credentials")
    else:
        yield Step("region", "skipped", "the server does not name the region of the bucket")
    yield _clock(head.date)


def _clock(date: str) -> Step:
    theirs = parse_http_date(date)
    if theirs is None:
        return Step("clock", "skipped", "the server sends no date")
    difference = round(time.time() - theirs)
    detail = f"{abs(difference)} s {'fast' if difference > 0 else 'slow'}, compared with the server"
    if abs(difference) <= CLOCK_SECONDS:
        return Step("clock", "ok", detail if abs(difference) > 1 else "equal to that of the server")
    from logferry.sinks.s3 import sdk_clock  # noqa: PLC0415 - imports botocore

    sdk_clock.correct(date)
    return Step("clock", "warning", detail, remedy="set the clock of this machine, for example with NTP")


async def _reading(access: AwsAccess, target: Target, key: str) -> AsyncIterator[Step]:
    """Yield the steps for the permissions of the reading commands."""
    prefix = f"{target.prefix}/" if target.prefix else ""
    try:
        await aws_requests.list_prefix(access, target.bucket, prefix)
    except RequestError as error:
        yield _missing_for_reading("list", error, LIST, target)
    else:
        yield Step("list", "ok", f"s3://{target.bucket}/{prefix}")
    if not key:
        yield Step("read", "skipped", "there is no canary to read")
        return
    try:
        await aws_requests.read_object(access, target.bucket, key)
    except RequestError as error:
        yield _missing_for_reading("read", error, _GET, target)
    else:
        yield Step("read", "ok", "the canary was read")


def _missing_for_reading(name: str, error: RequestError, action: str, target: Target) -> Step:
    """Return the step for a request that the reading commands send."""
    if not error.is_denied:
        return Step(name, "failed", str(error), remedy="see the error of S3")
    missing = action_in(error.sentence) or action
    return Step(
        name,
        "failed",
        str(error),
        notes=("the reading commands need it; the role of the function does not",),
        remedy=f"allow {missing} for those who read",
        statements=statements([missing], target),
        missing=(missing,),
    )


async def _delete(access: AwsAccess, bucket: str, key: str) -> Step:
    try:
        await aws_requests.delete_object(access, bucket, key)
    except RequestError as error:
        reason = f"{_DELETE} is not allowed, and logferry does not need it" if error.is_denied else str(error)
        return Step("delete", "skipped", f"s3://{bucket}/{key} remains: {reason}", remedy=_LEFT)
    return Step("delete", "ok", "the canary was deleted")
