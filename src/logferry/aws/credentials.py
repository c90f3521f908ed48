"""Credentials of the execution environment: environment variables or the container endpoint.

Guarantees:
- Credentials are read for each request. Nothing is read before the first request, so a snapshot
  contains none.
- Temporary credentials are kept and renewed `RENEW_SECONDS` before they expire, one renewal at a
  time.
- A renewal that fails uses the present credentials until they expire, unless the service has
  rejected them.
- A value that no HTTP header can carry is an error before a request is signed with it.
- No message contains a secret.

Design: Lambda passes static credentials as variables. Under SnapStart and on Managed Instances it
serves temporary credentials at a local HTTP endpoint. `assumed_role` has the credentials of a role,
which are kept and renewed by the same class. Every other source needs the AWS SDK
(`sinks.s3.endpoint.needs_sdk`).

References: AWS SDKs and Tools Reference Guide, "Container credential provider"; Lambda Developer
Guide, "Handling uniqueness with Lambda SnapStart" and "Lambda Managed Instances".
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from logferry.aws.sigv4 import Credentials
from logferry.aws.timestamps import parse_iso
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.http_client.address import HTTP_PORT, authority
from logferry.http_client.client import HttpClient
from logferry.http_client.failures import bounded, remedies
from logferry.http_client.response import HttpError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

RENEW_SECONDS = 300
"""Time before the expiration at which credentials are renewed, in seconds."""
FETCH_SECONDS = 2.0
"""Limit for a response of the container endpoint, in seconds. The endpoint is local."""
RETRY_SECONDS = 30
"""Time between failed renewals while the present credentials are valid, in seconds."""
_CONTAINER_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
RELATIVE_URI_HOST = "http://169.254.170.2"

_OK = 200
_REQUEST_ERRORS = range(400, 500)
_URL = r"http://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?(/[!-~]*)?"
_LOCAL_HOST = r"localhost|127(?:\.\d{1,3}){3}|169\.254(?:\.\d{1,3}){2}|::1|fd00:ec2::23"
_NEVER = float("inf")
_REMEDIES = remedies("check AWS_CONTAINER_CREDENTIALS_FULL_URI")


class RenewedCredentials:
    """Temporary credentials that are kept, and renewed before they expire."""

    def __init__(
        self, fetch: Callable[[], Awaitable[tuple[Credentials, float]]], *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """`fetch` returns credentials and their expiration in seconds since the epoch, or raises SinkError."""
        self._fetch = fetch
        self._wall_clock = wall_clock
        self._present: Credentials | None = None
        self._expires_at = _NEVER
        self._renew_at = 0.0
        self._one_renewal = asyncio.Lock()

    async def get(self) -> Credentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""
        async with self._one_renewal:
            if self._present is None or self._wall_clock() >= self._renew_at:
                self._present = await self._renewed()
            return self._present

    def expire(self, rejected: Credentials) -> None:
        """Renew credentials that the service has rejected as expired, unless another request has done so."""
        if self._present == rejected:
            self._renew_at = self._expires_at = 0.0

    async def _renewed(self) -> Credentials:
        try:
            found, self._expires_at = await self._fetch()
        except (SinkUnavailable, SinkRejected):
            if self._present is None or self._wall_clock() >= self._expires_at:
                self._present = None
                raise
            self._renew_at = self._wall_clock() + RETRY_SECONDS
            return self._present
        self._renew_at = self._expires_at - RENEW_SECONDS
        return found


class CredentialSource:
    """The current credentials of the environment."""

    def __init__(self, environ: Mapping[str, str], *, wall_clock: Callable[[], float] = time.time) -> None:
        self._environ = environ
        self._container = RenewedCredentials(self._fetch, wall_clock=wall_clock)

    async def get(self) -> Credentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""
        access_key, secret_key = (self._environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        if access_key and secret_key:
            token = self._environ.get("AWS_SECURITY_TOKEN") or self._environ.get("AWS_SESSION_TOKEN")
            return checked(access_key, secret_key, token, source="the AWS_ variables")
        return await self._container.get()

    def expire(self, rejected: Credentials) -> None:
        """Renew credentials that the service has rejected as expired, unless another request has done so."""
        self._container.expire(rejected)

    async def _fetch(self) -> tuple[Credentials, float]:
        host, port, path = container_endpoint(self._environ)
        client = HttpClient(host, port, None, timeout_seconds=FETCH_SECONDS, remedies=_REMEDIES)
        where = authority(host, port, HTTP_PORT)
        headers = {"Host": where, "Accept": "application/json", **self._authorization()}
        try:
            response = await client.request("GET", path, headers)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"no credentials from the container endpoint {where}: {error}") from error
        finally:
            client.close()
        if response.status != _OK:
            failure = SinkRejected if response.status in _REQUEST_ERRORS else SinkUnavailable
            raise failure(f"no credentials from the container endpoint {where}: status {response.status}")
        return _parsed(response.body, f"the container endpoint {where}")

    def _authorization(self) -> dict[str, str]:
        """Return the header with the token; its file is read each time, as the token changes."""
        path = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if path:
            try:
                with open(path, encoding="ascii") as file:  # noqa: PTH123 - a small local file
                    token = file.read()
            except (OSError, ValueError) as error:
                raise SinkRejected(f"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={path} cannot be read: {error}") from error
        if not _is_header_value(token):
            raise SinkRejected("the container authorization token is not printable ASCII, or has a line break")
        return {"Authorization": token} if token else {}


def reason_in_source(environ: Mapping[str, str]) -> str | None:
    """Return why `CredentialSource` has no credentials, or not those of the AWS SDKs; None if it has them."""
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return None
    if environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_SECRET_ACCESS_KEY"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "AWS_WEB_IDENTITY_TOKEN_FILE is set (assumed role)"
    if not any(environ.get(name) for name in _CONTAINER_VARIABLES):
        return "neither static nor container credentials are set"
    if environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "").lower().startswith("https:"):
        return "AWS_CONTAINER_CREDENTIALS_FULL_URI is an https URL"
    return None


def container_endpoint(environ: Mapping[str, str]) -> tuple[str, int, str]:
    """Return host, port and path of the container endpoint.

    Raises SinkRejected for a URL that is not local.
    """
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = RELATIVE_URI_HOST + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if not url:
        raise SinkRejected(
            "the environment has no AWS credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "nor a container credentials URI is set"
        )
    match = re.fullmatch(_URL, url, re.ASCII)
    host = match[1].strip("[]") if match else ""
    if not (match and re.fullmatch(_LOCAL_HOST, host, re.ASCII)):
        raise SinkRejected("AWS_CONTAINER_CREDENTIALS_FULL_URI is not an http URL of a local host")
    return host, int(match[2] or HTTP_PORT), match[3] or "/"


def _parsed(body: bytes, source: str) -> tuple[Credentials, float]:
    import json  # noqa: PLC0415 - static credentials do not need it

    try:
        document: dict[str, Any] = json.loads(body)
        keys = document["AccessKeyId"], document["SecretAccessKey"], document.get("Token") or ""
        expiration = document.get("Expiration")
        expires_at = parse_iso(expiration) if expiration else _NEVER
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SinkUnavailable(f"{source} gave no credentials: {error!r}") from error
    if expires_at is None:
        raise SinkUnavailable(f"{source} gave no valid expiration: {bounded(repr(expiration))}")
    if not all(isinstance(key, str) for key in keys):
        raise SinkUnavailable(f"{source} gave no credentials: a value is not a string")
    return checked(*keys, source=source), expires_at


def checked(access_key: str, secret_key: str, token: str | None, *, source: str) -> Credentials:
    """Return credentials. Raises SinkRejected for a value that would break or change a header."""
    for name, value in (("access key", access_key), ("secret key", secret_key), ("session token", token or "")):
        if not _is_header_value(value) or " " in value:
            raise SinkRejected(
                f"the {name} from {source} is not printable ASCII, or has a space or a line break; correct the value"
            )
    return Credentials(access_key, secret_key, token or None)


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()
