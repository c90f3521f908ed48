"""GETs of objects with obstore, with the session of the AWS SDK.

Guarantees:
- An error of one object (missing, archived, denied) raises `ValueError` with its reason, and one of
  the destination `DestinationError`.
- Credentials are those of the SDK's session, also after they were renewed.

Design: obstore sends 64 GETs concurrently with a fifth of the CPU time of the SDK.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from logferry.cli.fetch import s3_failures
from logferry.cli.stored_objects import DestinationError, reason_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""Time limits of a connection and of each read, in seconds. Then the client tries again."""
MAX_ATTEMPTS = 4
_UNSUPPORTED = ("CaUsedAsEndEntity", "Could not parse path")
"""Errors of obstore for requests that the SDK can send."""
CREDENTIALS_MINUTES = 5
"""Time after which obstore asks the session for credentials again, in minutes."""


class UnsupportedRequestError(Exception):
    """A request that obstore cannot send: a self-signed certificate, or a key such as `a//b`."""


class ObjectClient:
    """A client for the objects of one bucket. `url` is the destination, for messages."""

    def __init__(self, url: str, bucket: str, endpoint: str, credentials: Any, *, ca_bundle: str) -> None:
        self._url = url
        self._bucket = bucket
        self._endpoint = endpoint
        self._credentials = credentials
        self._ca_bundle = ca_bundle
        self._store: S3Store | None = None

    async def get(self, key: str, *, region: str) -> bytes:
        """Return the body of an object. Raise ValueError, DestinationError or UnsupportedRequestError."""
        try:
            response = await obstore.get_async(self._client(region), key)
            return bytes(await response.bytes_async())
        except (BaseError, ValueError, OSError) as error:
            if any(text in str(error) for text in _UNSUPPORTED):
                raise UnsupportedRequestError(str(error)) from error
            raise error_of(self._url, s3_failures.code_in(str(error)), error) from error

    def _client(self, region: str) -> S3Store:
        """Return the client for GETs in a region, which is known after a list."""
        if self._store is None:
            endpoint = self._endpoint
            is_aws = (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
            arguments: dict[str, Any] = {} if is_aws else {"endpoint": endpoint}
            self._store = S3Store(
                self._bucket,
                region=region,
                virtual_hosted_style_request=is_aws and "." not in self._bucket,
                credential_provider=self._credential,
                client_options=self._options(),
                retry_config={"max_retries": MAX_ATTEMPTS - 1, "retry_timeout": timedelta(seconds=READ_SECONDS)},
                **arguments,
            )
        return self._store

    def _options(self) -> ClientConfig:
        options: ClientConfig = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(minutes=10),
            "allow_http": self._endpoint.startswith("http://"),
        }
        if self._ca_bundle:
            options["root_certificate"] = Path(self._ca_bundle).read_bytes()
        return options

    async def _credential(self) -> S3Credential:
        frozen = await self._credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=CREDENTIALS_MINUTES),
        }


def error_of(url: str, code: str, error: Exception) -> Exception:
    """Return the error of a GET with S3's code: that of the object, or that of the destination."""
    if code in s3_failures.OBJECT_CODES:
        return ValueError(s3_failures.OBJECT_CODES[code])
    if code in s3_failures.REMEDIES:
        return DestinationError(s3_failures.failure(url, code, str(error)))
    return ValueError(str(error).partition("\n")[0] or reason_of(error))
