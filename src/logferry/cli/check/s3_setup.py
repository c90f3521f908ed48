"""Access to S3 as the settings and the variables define it, for the requests of the check.

Guarantees:
- Region, endpoint, credentials and role are those that the sink uses.
- Messages name the settings that replace AWS variables.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from logferry.aws import sts
from logferry.aws.assumed_role import AssumedRole
from logferry.aws.credentials import CredentialSource
from logferry.aws.variable_names import renamed
from logferry.cli.check import aws_requests
from logferry.cli.check.aws_requests import AwsAccess, RequestError
from logferry.cli.check.result import Step
from logferry.errors import SinkError
from logferry.sinks.s3 import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.aws.role import Role
    from logferry.aws.sigv4 import Credentials
    from logferry.cli.check.context import Context

ROLE = "role"
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class S3Setup(NamedTuple):
    """Variables for requests to S3, the role to assume, and the names of settings in place of variables."""

    environ: Mapping[str, str]
    role: Role | None
    names: Mapping[str, str]

    @property
    def region(self) -> str:
        """The configured region, or an empty string."""
        return self.environ.get("AWS_REGION") or self.environ.get("AWS_DEFAULT_REGION") or ""

    @property
    def has_own_credentials(self) -> bool:
        """Whether settings of logferry contain the credentials."""
        return "AWS_ACCESS_KEY_ID" in self.names

    @property
    def is_amazon(self) -> bool:
        """Whether the endpoint is one of AWS."""
        url = endpoint.endpoint_url(self.environ)
        return not url or url.partition("://")[2].partition("/")[0].partition(":")[0].endswith(_AMAZON)

    def needs_sdk(self, context: Context) -> str:
        """Return the reason why the SDK is the client, or an empty string."""
        if context.settings.s3_client == "sdk":
            return "LOGFERRY_S3_CLIENT=sdk"
        reason = endpoint.needs_sdk(context.settings.destination.bucket, self.region or None, self.environ)
        return reason or (self.role and sts.needs_sdk(self.role, self.environ)) or ""

    def access(self, credentials: Credentials) -> AwsAccess:
        """Return the access with these credentials."""
        return AwsAccess(
            region=self.region or endpoint.GLOBAL_REGION,
            credentials=credentials,
            endpoint_url=endpoint.endpoint_url(self.environ),
            is_dualstack=_is_true(self.environ, "AWS_USE_DUALSTACK_ENDPOINT"),
            is_fips=_is_true(self.environ, "AWS_USE_FIPS_ENDPOINT"),
        )


def setup_of(context: Context) -> S3Setup:
    """Return the access to S3 of a check."""
    access = context.settings.s3_access
    if not access:
        return S3Setup(context.environ, None, {})
    return S3Setup(access.environ(context.environ), access.role(context.environ), access.names())


def sts_access(context: Context, credentials: Credentials) -> AwsAccess:
    """Return the access to STS, which has the region and the endpoint of the function."""
    environ = context.environ
    return AwsAccess(
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or endpoint.GLOBAL_REGION,
        credentials=credentials,
        endpoint_url=environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL") or "",
    )


async def assume(setup: S3Setup, role: Role, caller: Credentials) -> tuple[Step, Credentials | None]:
    """Assume the role as the sink does. Return the step and the credentials."""
    try:
        # 1. logferry's own client.
        if not sts.needs_sdk(role, setup.environ):
            found = await AssumedRole(role, CredentialSource(setup.environ), setup.environ).get()
        # 2. The SDK, for example behind a proxy.
        else:
            access = AwsAccess(role.region, caller, role.sts_url, is_dualstack=role.dualstack, is_fips=role.fips)
            found = await aws_requests.assumed(access, sts.parameters(role))
    except (SinkError, RequestError) as error:
        text, _, remedy = str(error).rpartition("; ")
        return Step(ROLE, "failed", text or remedy, remedy=remedy if text else "check LOGFERRY_S3_ROLE_ARN"), None
    return Step(ROLE, "ok", f"{role.arn} is assumed, session {role.session_name}"), found


def named(step: Step, names: Mapping[str, str]) -> Step:
    """Return a step that names the settings in place of the variables that they replace."""
    if not names:
        return step
    return replace(
        step,
        detail=renamed(step.detail, names),
        remedy=renamed(step.remedy, names),
        notes=tuple(renamed(note, names) for note in step.notes),
    )


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() == "true"
