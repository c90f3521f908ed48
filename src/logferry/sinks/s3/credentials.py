"""Credentials of the execution environment: environment variables or the container endpoint.

Guarantees:
- Credentials are read for each request. Nothing is read before the first request, so a snapshot
  contains none.
- Credentials of the container endpoint are kept and renewed `RENEW_SECONDS` before they expire, one
  renewal at a time.
- A renewal that fails uses the present credentials until they expire.
- No message contains a secret.

Design: Lambda passes static credentials as variables. Under SnapStart and on Managed Instances it
serves temporary credentials at a local HTTP endpoint. Every other source needs the AWS SDK
(`endpoint.needs_sdk`).

References: AWS SDKs and Tools Reference Guide, "Container credential provider"; Lambda Developer
Guide, "Handling uniqueness with Lambda SnapStart" and "Lambda Managed Instances".
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from logferry.errors import SinkRejected, SinkUnavailable
from logferry.sinks.s3.http_client import HttpClient
from logferry.sinks.s3.http_response import HttpError
from logferry.sinks.s3.sigv4 import Credentials
from logferry.sinks.s3.timestamps import parse_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RENEW_SECONDS = 300
"""Time before the expiration at which credentials are renewed, in seconds."""
FETCH_SECONDS = 2.0
"""Limit for a response of the container endpoint, in seconds. The endpoint is local."""
RETRY_SECONDS = 30
"""Time between failed renewals while the present credentials are valid, in seconds."""
RELATIVE_URI_HOST = "http://169.254.170.2"

_OK = 200
_REQUEST_ERRORS = range(400, 500)
_URL = r"http://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?(/[!-~]*)?"
_LOCAL_HOST = r"localhost|127(?:\.\d{1,3}){3}|169\.254(?:\.\d{1,3}){2}|::1|fd00:ec2::23"
_NEVER = float("inf")


class CredentialSource:
    """The current credentials."""

    def __init__(self, environ: Mapping[str, str], *, wall_clock: Callable[[], float] = time.time) -> None:
        self._environ = environ
        self._wall_clock = wall_clock
        self._fetched: Credentials | None = None
        self._expires_at = _NEVER
        self._renew_at = 0.0
        self._one_renewal = asyncio.Lock()

    async def get(self) -> Credentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""
        access_key, secret_key = (self._environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        if access_key and secret_key:
            token = self._environ.get("AWS_SECURITY_TOKEN") or self._environ.get("AWS_SESSION_TOKEN")
            return Credentials(access_key, secret_key, token or None)
        async with self._one_renewal:
            if self._fetched is None or self._wall_clock() >= self._renew_at:
                await self._renew()
            assert self._fetched is not None  # noqa: S101 - _renew raises otherwise
            return self._fetched

    def expire(self) -> None:
        """Renew the credentials at the next request: the service has rejected them as expired."""
        self._renew_at = 0.0

    async def _renew(self) -> None:
        try:
            self._fetched, self._expires_at = await self._fetch()
        except (SinkUnavailable, SinkRejected):
            if self._fetched is None or self._wall_clock() >= self._expires_at:
                self._fetched = None
                raise
            self._renew_at = self._wall_clock() + RETRY_SECONDS
        else:
            self._renew_at = self._expires_at - RENEW_SECONDS

    async def _fetch(self) -> tuple[Credentials, float]:
        host, port, path = container_endpoint(self._environ)
        client = HttpClient(host, port, None, timeout_seconds=FETCH_SECONDS)
        headers = {
            "Host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "Accept": "application/json",
            **self._authorization(),
        }
        try:
            response = await client.request("GET", path, headers)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"no credentials from the container endpoint {host}:{port}: {error}") from error
        finally:
            client.close()
        if response.status != _OK:
            failure = SinkRejected if response.status in _REQUEST_ERRORS else SinkUnavailable
            raise failure(f"no credentials from the container endpoint {host}:{port}: status {response.status}")
        return _parsed(response.body, f"{host}:{port}")

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
        if not token.isprintable():
            raise SinkRejected("the container authorization token is not a header value: it contains a line break")
        return {"Authorization": token} if token else {}


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
    return host, int(match[2] or 80), match[3] or "/"


def _parsed(body: bytes, where: str) -> tuple[Credentials, float]:
    import json  # noqa: PLC0415 - static credentials do not need it

    try:
        document: dict[str, Any] = json.loads(body)
        credentials = Credentials(
            str(document["AccessKeyId"]), str(document["SecretAccessKey"]), document.get("Token") or None
        )
        expiration = document.get("Expiration")
        expires_at = parse_iso(expiration) if expiration else _NEVER
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SinkUnavailable(f"the container endpoint {where} gave no credentials: {error!r}") from error
    if expires_at is None:
        raise SinkUnavailable(f"the container endpoint {where} gave no valid expiration: {expiration!r}")
    return credentials, expires_at
