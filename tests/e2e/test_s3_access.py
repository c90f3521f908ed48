"""The real extension with a role, with separate credentials, and with conditional writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in_s3, assert_exactly_once, environment
from support.fault_proxy import FaultProxy
from support.s3_faults import Fault
from support.s3_stub import OK, answering, server_that
from support.sts_stub import EXTERNAL_ID, ROLE_ARN, sts_stub

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

pytestmark = pytest.mark.timeout(120)

EACH_INVOCATION = {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_FLUSH_INVOCATIONS": "1"}
FUNCTION_KEYS = {"AWS_ACCESS_KEY_ID": "ASIAFUNCTION", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "y"}


async def test_snapshot_contains_no_credentials_of_a_role(tmp_path: Path) -> None:
    """STS is asked after the restore, and once for all uploads of the environment."""
    async with sts_stub() as stub:
        with server_that(answering(OK)) as (variables, requests):
            settings = (
                variables
                | EACH_INVOCATION
                | {
                    "AWS_ENDPOINT_URL_STS": stub.url,
                    "LOGFERRY_DESTINATION": "s3://bucket/logs",
                    "LOGFERRY_S3_ROLE_ARN": ROLE_ARN,
                    "LOGFERRY_S3_ROLE_EXTERNAL_ID": EXTERNAL_ID,
                }
            )
            async with environment(tmp_path, settings, initialization_type="snap-start") as service:
                await service.start()
                await service.idle_for(0.5)
                assert stub.forms == []
                for _ in range(2):
                    await service.invoke({})
                await service.wait_idle()
                await service.shutdown()
        (form,) = stub.forms
        assert (form["RoleSessionName"], form["ExternalId"]) == ("logferry-orders", EXTERNAL_ID)
        assert stub.callers() == ["key"]
        assert len(requests) >= 2
        assert set(requests.values("x-amz-security-token")) == {"role+token/1=="}


@pytest.mark.parametrize("readable", [False, True], ids=["write-only role", "role that reads"])
async def test_ambiguous_upload_is_stored_exactly_once_with_conditional_writes(
    tmp_path: Path, s3: S3Server, bucket: str, *, readable: bool
) -> None:
    """S3 stores the objects and resets the connection; the repeated request finds each object in place."""
    identity = s3.admin if readable else s3.shipper
    async with FaultProxy(s3.endpoint_url) as proxy:
        settings = (
            EACH_INVOCATION
            | FUNCTION_KEYS
            | {
                "AWS_REGION": "eu-central-1",
                "LOGFERRY_DESTINATION": f"s3://{bucket}/logs",
                "LOGFERRY_S3_ACCESS_KEY_ID": identity.access_key,
                "LOGFERRY_S3_SECRET_ACCESS_KEY": identity.secret_key,
                "LOGFERRY_S3_REGION": "us-east-1",
                "LOGFERRY_S3_ENDPOINT_URL": proxy.endpoint_url,
                "LOGFERRY_S3_IF_NONE_MATCH": "true",
            }
        )
        async with environment(tmp_path, settings) as service:
            await proxy.set_fault(Fault.RESET_AFTER_STORING)
            await service.invoke({})
            await service.wait_idle()
            before = await s3.get_all(bucket)
            assert before, "the first attempt has stored an object"
            await proxy.set_fault(Fault.NONE)
            await service.invoke({})
            await service.wait_idle()
            await service.shutdown()
        assert_exactly_once(service, await arrived_in_s3(s3, bucket))
        assert (await s3.get_all(bucket))[: len(before)] == before, "no object was overwritten"
