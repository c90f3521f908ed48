"""AWS Signature Version 4 for the Authorization header.

Guarantees:
- `sign` is pure: the same arguments always give the same headers.
- Every header that the caller passes is signed. The caller adds unsigned headers (User-Agent)
  afterwards.
- Header values are signed trimmed and with single spaces, and are sent unchanged.

Design: the service name is a parameter. S3 differs from all other services in two rules, and both
are explicit. The path is signed as it is sent (`encode_path_twice=False`), and the caller passes
`x-amz-content-sha256` as a header. The signing key depends on the date, region and service only and
is kept, because deriving it costs four HMACs.

References: IAM User Guide, "Create a signed AWS API request"; S3 API Reference, "Signature
Calculations for the Authorization Header".
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RESERVED = re.compile(r"[^A-Za-z0-9\-._~]+")
_RESERVED_IN_PATH = re.compile(r"[^A-Za-z0-9\-._~/]+")
_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials:
    """An access key, its secret key and, for temporary credentials, the session token."""

    __slots__ = ("access_key", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str | None = None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token

    def __repr__(self) -> str:
        return "<Credentials>"  # a traceback contains neither the key id nor a secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.access_key, self.secret_key, self.token))


def quote(text: str, *, keep_slash: bool = False) -> str:
    """Percent-encode UTF-8 text except for unreserved characters and, if wanted, slashes."""
    return (_RESERVED_IN_PATH if keep_slash else _RESERVED).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in match[0].encode()])


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    payload_sha256: str,
    credentials: Credentials,
    region: str,
    service: str,
    amz_date: str,
    encode_path_twice: bool,
) -> dict[str, str]:
    """Return X-Amz-Date, X-Amz-Security-Token and Authorization for a request.

    `path` is the encoded path as it is sent. `query` is the canonical query string. `headers`
    contains `host`.
    """
    added = {"x-amz-date": amz_date}
    if credentials.token:
        added["x-amz-security-token"] = credentials.token
    values = {name.lower(): " ".join(value.split()) for name, value in (*headers.items(), *added.items())}
    names = sorted(values)
    signed_names = ";".join(names)
    canonical_request = "\n".join(
        [
            method,
            quote(path, keep_slash=True) if encode_path_twice else path,
            query,
            *[f"{name}:{values[name]}" for name in names],
            "",
            signed_names,
            payload_sha256,
        ]
    )
    date = amz_date[:8]
    scope = f"{date}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{amz_date}\n{scope}\n{sha256(canonical_request.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(credentials.secret_key, date, region, service), text.encode(), "sha256").hex()
    added["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed_names}, Signature={signature}"
    )
    return added


@lru_cache(maxsize=4)
def _signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
