"""Credentials of a role through the AWS SDK, for the configurations that need the SDK.

Guarantees:
- The credentials are kept and renewed as those of `aws.assumed_role`, and errors are classified by the
  same rules.
- The credentials of the caller are read for each renewal.

Design: botocore's refreshable credentials write a traceback to stderr for each failure. The client
requests the credentials from this object before each request instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
from aiobotocore.credentials import AioCredentials
from botocore import exceptions as boto
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError

from logferry.aws import sts
from logferry.aws.credentials import RenewedCredentials
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.failures import bounded
from logferry.sinks.s3 import sdk_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from logferry.aws.role import Role
    from logferry.aws.sigv4 import Credentials

_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


class SdkRoleCredentials(AioCredentials):  # type: ignore[misc]  # it ships no type information
    """A provider of credentials and the credentials themselves, as aiobotocore uses them."""

    def __init__(self, role: Role, open_client: Callable[[], Any]) -> None:
        """`open_client` returns the context manager of an STS client with the credentials of the caller."""
        super().__init__("", "", method="assume-role")
        self._role = role
        self._open_client = open_client
        self._credentials = RenewedCredentials(self._assume)

    async def load_credentials(self) -> SdkRoleCredentials:
        """Return this object: the interface of a credential provider."""
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""
        found = await self._credentials.get()
        return ReadOnlyCredentials(found.access_key, found.secret_key, found.token)

    async def _assume(self) -> tuple[Credentials, float]:
        try:
            found = (await self._response())["Credentials"]
            keys = found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]
            expires_at = found["Expiration"].timestamp() - sdk_clock.offset_seconds()
        except boto.ClientError as error:
            raise sts.classify(self._role, _error_of(error)) from error
        except _NO_CREDENTIALS as error:
            raise SinkRejected(
                sts.event_of(self._role, f"{bounded(str(error))}; the environment has no usable AWS credentials")
            ) from error
        except (boto.BotoCoreError, aiohttp.ClientError, OSError, ValueError) as error:
            raise SinkUnavailable(
                sts.event_of(self._role, f"{bounded(str(error))}; {sts.CONNECTION_REMEDIES.reach}")
            ) from error
        except (ResponseParserError, KeyError, AttributeError):
            # Not a document of STS. The error is not chained, because it contains the complete response.
            raise SinkUnavailable(sts.event_of(self._role, f"STS gave no credentials; {sts.NOT_STS}")) from None
        return sts.credentials_of(*keys), expires_at

    async def _response(self) -> Any:
        """Send the request, once more with the clock of STS if the clocks differ."""
        async with self._open_client() as client:
            try:
                return await client.assume_role(**sts.parameters(self._role))
            except boto.ClientError as error:
                headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                if not (_error_of(error).is_skewed and sdk_clock.correct(headers.get("date", ""))):
                    raise
            return await client.assume_role(**sts.parameters(self._role))


def _error_of(error: boto.ClientError) -> sts.StsError:
    found = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return sts.StsError(status, str(found.get("Code", "")), bounded(str(found.get("Message", ""))))
