"""Checks of a Firehose stream: credentials, network, and PutRecordBatch with one line that is no record.

Guarantees:
- The canary is sent by the sink of the extension. `firehose:PutRecordBatch` is the only permission that is needed.
- A missing permission is named, with an IAM statement for this stream.

Design: DescribeDeliveryStream would need a permission that the extension does not need, and it proves nothing about
PutRecordBatch. Firehose has no request that verifies permissions without effect, so one line is delivered.

References: Firehose API Reference, "PutRecordBatch"; Service Authorization Reference, "Amazon Kinesis Firehose".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logferry.aws.service_endpoint import endpoint_url, not_covered, proxy_for, resolve
from logferry.cli.check import sink_put
from logferry.cli.check.aws_requests import AwsAccess
from logferry.cli.check.credentials import apply, find_credentials, identity_step
from logferry.cli.check.denial import action_in, advice
from logferry.cli.check.iam_statements import partition_of
from logferry.cli.check.line_canary import line_canary
from logferry.cli.check.network import network_steps, proxy_steps
from logferry.cli.check.result import Step
from logferry.shipper.upload_target import open_target
from logferry.sinks.firehose.errors import ACTION, CONNECTION_REMEDIES
from logferry.sinks.firehose.sink import SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from logferry.cli.check.context import Context
    from logferry.errors import SinkError
    from logferry.http_client.address import Address

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


async def firehose_steps(context: Context) -> AsyncIterator[Step]:
    """Yield the steps for a stream."""
    found = await find_credentials(context.environ)
    yield found.step
    if not found.credentials:
        return
    apply(found.variables, context.environ)
    environ = context.environ
    region = context.settings.destination.path or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if reason := not_covered(SERVICE, region, environ):
        text, _, remedy = reason.rpartition("; ")
        yield Step("client", "failed", text or reason, remedy=remedy)
        return
    yield Step("client", "ok", f"logferry's own client, region {region}")
    address, account = resolve(SERVICE, region, environ), ""
    if address.host.endswith(_AMAZON) or environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL"):
        _, sts_url = endpoint_url("sts", environ)
        step, account = await identity_step(AwsAccess(region, found.credentials, sts_url), context.function)
        yield step
    else:
        yield Step("identity", "skipped", "the endpoint is not one of AWS")
    is_connected = True
    async for step in _network(address, region, environ):
        is_connected = is_connected and step.status != "failed"
        yield step
    if is_connected:
        yield await _put(context, region, account)


def _network(address: Address, region: str, environ: Mapping[str, str]) -> AsyncIterator[Step]:
    """Return the steps for the endpoint, or for the proxy in front of it."""
    if variable := proxy_for(SERVICE, region, environ):
        return proxy_steps(variable, environ)
    return network_steps(address.host, address.port, environ, tls=address.tls, remedies=CONNECTION_REMEDIES)


async def _put(context: Context, region: str, account: str) -> Step:
    target = open_target(context.settings, context.environ)
    stored, started = line_canary(target, context.environ), time.monotonic()
    error = await sink_put.put_bounded(target.sink, stored, timeout_seconds=context.settings.upload_timeout)
    if error:
        return _refused(error, context.settings.destination.authority, region, account)
    milliseconds = (time.monotonic() - started) * 1000
    return Step(
        sink_put.NAME, "ok", f"accepted in {milliseconds:.0f} ms: one line without a record, which is delivered"
    )


def _refused(error: SinkError, stream: str, region: str, account: str) -> Step:
    text, remedy = sink_put.text_and_remedy(error)
    if error.code not in _DENIED:
        return Step(sink_put.NAME, "failed", text, remedy=remedy)
    found, missing = advice(error.sentence), action_in(error.sentence) or ACTION
    return Step(
        sink_put.NAME,
        "failed",
        text,
        notes=(f"missing: {missing}, in {found.policy}",),
        remedy=f"add this statement to {found.policy}" if found.is_addition else remedy,
        statements=(_statement(missing, stream, region, account),) if found.is_addition else (),
        missing=(missing,),
    )


def _statement(action: str, stream: str, region: str, account: str) -> Mapping[str, str]:
    """Return the statement that allows an action on the stream, or on any key for an action of KMS."""
    partition, owner = partition_of(region), account or "*"
    resource = f"arn:{partition}:firehose:{region}:{owner}:deliverystream/{stream}"
    if action.startswith("kms:"):
        resource = f"arn:{partition}:kms:{region}:{owner}:key/*"
    return {"Effect": "Allow", "Action": action, "Resource": resource}
