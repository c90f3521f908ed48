"""Check of the credentials: where they come from, and whose they are.

Guarantees:
- No secret is shown, and an access key ID is shortened.
- The extension's sources are read as the extension reads them. The AWS SDK finds others, such as a profile or SSO.
  The result is then used as variables, so that the client is the one that Lambda would use.
- The owner is optional: a failure that is not a refusal of the credentials is no fault.

References: AWS SDKs and Tools Reference Guide, "Standardized credential providers"; AWS STS API Reference,
"GetCallerIdentity" (it needs no permission).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from logferry.aws.credentials import CredentialSource
from logferry.aws.sigv4 import Credentials
from logferry.cli.check import aws_requests
from logferry.cli.check.result import Step
from logferry.errors import SinkError
from logferry.http_client.failures import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.cli.check.settings_source import FunctionConfiguration

NAME, IDENTITY = "credentials", "identity"
SDK_SECONDS = 10.0
"""Limit of the SDK's search for credentials, in seconds. SSO and roles send requests."""
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_TEMPORARY = "ASIA"
_SHOWN, _SHORTEST = 4, 12
_METHODS = {
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS configuration file",
    "sso": "a session of IAM Identity Center",
    "login": "a session of `aws login`",
    "assume-role": "an assumed role of the AWS configuration",
    "assume-role-with-web-identity": "a role assumed with a web identity",
    "custom-process": "a credential process",
    "iam-role": "the role of this EC2 instance",
    "container-role": "the role of this container",
}
_REFUSED = {
    "ExpiredToken": "renew the credentials",
    "InvalidClientTokenId": "check the access key: AWS does not know it",
    "SignatureDoesNotMatch": "check the secret key: it does not belong to the access key",
}
_CLOCK_SENTENCES = ("Signature expired", "Signature not yet current")
_REMEDY = "configure them with `aws configure`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Found(NamedTuple):
    """The step, the credentials, and the variables that stand for them."""

    step: Step
    credentials: Credentials | None
    variables: Mapping[str, str]


async def find_credentials(environ: Mapping[str, str], *, are_settings: bool = False) -> Found:
    """Return the credentials of an environment.

    `are_settings` states that settings of logferry have replaced the AWS variables.
    """
    present = [name for name in _KEYS if environ.get(name)]
    # 1. Variables, as on Lambda.
    if len(present) == len(_KEYS):
        return await _own(environ, "LOGFERRY_S3_ACCESS_KEY_ID" if are_settings else "environment variables")
    if present:
        other = next(name for name in _KEYS if name not in present)
        return _failed(f"{present[0]} is set without {other}", f"set {other}, or remove {present[0]}")
    # 2. The container endpoint, as under SnapStart and on Managed Instances.
    if any(environ.get(name, "").startswith(("/", "http://")) for name in _CONTAINER):
        return await _own(environ, "the container endpoint")
    # 3. Sources of the AWS SDK.
    return await _of_sdk(environ)


def apply(variables: Mapping[str, str], environ: dict[str, str]) -> None:
    """Set variables of the check, and of this process, because the SDK reads them there."""
    environ.update(variables)
    os.environ.update(variables)


async def _own(environ: Mapping[str, str], source: str) -> Found:
    try:
        credentials = await CredentialSource(environ).get()
    except SinkError as error:
        return _failed(str(error), _REMEDY)
    return _found(credentials, source, {})


async def _of_sdk(environ: Mapping[str, str]) -> Found:
    from aiobotocore.session import get_session  # noqa: PLC0415 - takes 0.3 s
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        async with asyncio.timeout(SDK_SECONDS):
            session = get_session()
            provided = await session.get_credentials()
            frozen = await provided.get_frozen_credentials() if provided else None
            region = session.get_config_variable("region")
    except TimeoutError:
        return _failed(f"the AWS SDK found none within {SDK_SECONDS:g} s", _REMEDY)
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        return _failed(bounded(str(error)), _REMEDY)
    if provided is None or frozen is None:
        return _failed("none were found", _REMEDY)
    credentials = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
    variables = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
    variables |= {"AWS_SESSION_TOKEN": frozen.token} if frozen.token else {}
    variables |= {"AWS_REGION": region} if region and not environ.get("AWS_REGION") else {}
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    source = _METHODS.get(provided.method, provided.method) + (f", profile {profile}" if profile else "")
    return _found(credentials, source, variables)


def _found(credentials: Credentials, source: str, variables: Mapping[str, str]) -> Found:
    key = shortened(credentials.access_key)
    kind = "temporary key" if credentials.token else "key"
    detail = f"{source}; {kind} {key}"
    if credentials.access_key.startswith(_TEMPORARY) and not credentials.token:
        step = Step(NAME, "warning", detail, remedy="a key that begins with ASIA needs AWS_SESSION_TOKEN: set it too")
    else:
        step = Step(NAME, "ok", detail)
    return Found(step, credentials, variables)


def _failed(detail: str, remedy: str) -> Found:
    return Found(Step(NAME, "failed", detail, remedy=remedy), None, {})


def shortened(key_id: str) -> str:
    """Return an access key ID with its first and last characters only."""
    if len(key_id) < _SHORTEST:
        return f"{key_id[:2]}…"
    return f"{key_id[:_SHOWN]}…{key_id[-_SHOWN:]}"


async def identity_step(access: aws_requests.AwsAccess, function: FunctionConfiguration | None) -> tuple[Step, str]:
    """Return the step for the owner of the credentials, and the account, which may be empty."""
    try:
        account, arn = await aws_requests.caller(access)
    except aws_requests.RequestError as error:
        if error.code in _REFUSED and not any(text in error.sentence for text in _CLOCK_SENTENCES):
            return Step(IDENTITY, "failed", str(error), remedy=_REFUSED[error.code]), ""
        if error.code in _REFUSED:
            return Step(IDENTITY, "warning", str(error), remedy="set the clock of this machine"), ""
        return Step(IDENTITY, "skipped", f"unknown, and not needed: {error}"), ""
    role = function.role.rpartition("/")[2] if function else ""
    if role and role_in(arn) != role:
        return Step(
            IDENTITY,
            "warning",
            arn,
            notes=(f"the function has the role {role}, whose permissions may differ",),
            remedy="check with the credentials of that role: `aws sts assume-role`",
        ), account
    return Step(IDENTITY, "ok", arn), account


def role_in(arn: str) -> str:
    """Return the role of an ARN such as `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, or an empty string."""
    parts = arn.rpartition(":")[2].split("/")
    return parts[1] if parts[0] == "assumed-role" and len(parts) > 1 else ""
