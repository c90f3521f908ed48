"""Settings of the access to S3: role, separate credentials, region and endpoint.

Guarantees:
- The settings apply to logferry's requests to S3 only. The AWS variables of the function keep their values.
- No mistake and no `repr` contains a secret key, a session token or an access key ID.
- Messages name the setting that replaces an AWS variable, if it is set (`names`).

Design: Lambda reserves AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, so a store of another
provider needs variables that are not reserved. The S3 clients read AWS variables from a mapping. `environ` returns one in
which these settings replace them, so each rule for the AWS variables applies to the settings too.

References: Lambda Developer Guide, "Defined runtime environment variables"; STS API Reference, "AssumeRole".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.aws.role import MAX_SESSION_NAME, Role, default_session_name
from logferry.setting import Setting, hidden
from logferry.values import parse_truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROLE = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}"
_EXTERNAL_ID = r"[\w+=,.@:/-]{2,1224}"
_SESSION_NAME = rf"[\w+=,.@-]{{2,{MAX_SESSION_NAME}}}"
_REGION = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_VARIABLES = {
    "S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "S3_REGION": "AWS_REGION",
    "S3_ENDPOINT_URL": "AWS_ENDPOINT_URL_S3",
    "S3_DUALSTACK": "AWS_USE_DUALSTACK_ENDPOINT",
    "S3_FIPS": "AWS_USE_FIPS_ENDPOINT",
}
"""AWS variable that each setting replaces."""
_PAIR = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
_TOKENS = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
_DUAL_STACK, _FIPS = "AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"


def _matching(pattern: str, remedy: str) -> Any:
    def parse(text: str) -> str:
        if text and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(remedy)
        return text

    return parse


def _credential(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("the value has a character that no HTTP header can carry: correct it")
    return text


def _switch(text: str) -> bool | None:
    return parse_truth(text) if text else None


# ruff: noqa: E501 - a row of the table is easier to read on one line
SETTINGS = (
    Setting("S3_ROLE_ARN", "", "ARN of an IAM role", "role that logferry assumes for its requests to S3, such as one in the account of the bucket", _matching(_ROLE, "use the ARN of a role, such as arn:aws:iam::123456789012:role/name")),
    Setting("S3_ROLE_EXTERNAL_ID", "", "2 to 1224 characters", "external ID that the trust policy of the role requires", _matching(_EXTERNAL_ID, "use 2 to 1224 letters, digits and the characters _+=,.@:/-")),
    Setting("S3_ROLE_SESSION_NAME", "", "2 to 64 characters", "name of the role's session in CloudTrail; without it, `logferry-` and the name of the function", _matching(_SESSION_NAME, "use 2 to 64 letters, digits and the characters _+=,.@-")),
    Setting("S3_ACCESS_KEY_ID", "", "an access key ID", "credentials for the store instead of those of the function, for S3-compatible stores", _credential, hidden),
    Setting("S3_SECRET_ACCESS_KEY", "", "a secret key", "secret key of `LOGFERRY_S3_ACCESS_KEY_ID`", _credential, hidden),
    Setting("S3_SESSION_TOKEN", "", "a session token", "session token, if `LOGFERRY_S3_ACCESS_KEY_ID` is temporary", _credential, hidden),
    Setting("S3_REGION", "", "a region", "region of the store, if it is not that of the function; Cloudflare R2: `auto`", _matching(_REGION, "use a name such as eu-central-1, or auto for Cloudflare R2")),
    Setting("S3_ENDPOINT_URL", "", "a URL without the bucket", "endpoint of the store; it has precedence over `AWS_ENDPOINT_URL_S3`", str),
    Setting("S3_DUALSTACK", "", "`true`, `false`", "`true`: dual-stack endpoint (IPv6 and IPv4); without it, `AWS_USE_DUALSTACK_ENDPOINT` applies", _switch),
    Setting("S3_FIPS", "", "`true`, `false`", "`true`: FIPS endpoint; without it, `AWS_USE_FIPS_ENDPOINT` applies", _switch),
)  # fmt: skip


class S3Access(NamedTuple):
    """The valid settings of this table."""

    variables: Mapping[str, str]
    """AWS variables that the settings replace, with their values."""
    role_arn: str = ""
    external_id: str = ""
    session_name: str = ""

    def __repr__(self) -> str:
        return f"<S3Access {', '.join(self.variables)} {self.role_arn}>"

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the AWS variables for the requests to S3."""
        found = {**environ, **self.variables}
        # 1. The token of the function does not belong to the separate credentials.
        if "AWS_ACCESS_KEY_ID" in self.variables:
            for name in _TOKENS:
                found.pop(name, None)
            found.update({name: self.variables[name] for name in _TOKENS if name in self.variables})
        # 2. The variables for the endpoints of AWS do not apply to a separate endpoint.
        if "AWS_ENDPOINT_URL_S3" in self.variables:
            for name in ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", _DUAL_STACK, _FIPS):
                found.pop(name, None)
            found.update({name: self.variables[name] for name in (_DUAL_STACK, _FIPS) if name in self.variables})
        return found

    def role(self, environ: Mapping[str, str]) -> Role | None:
        """Return the role with the address of STS, given the variables of the function; None if there is no role."""
        if not self.role_arn:
            return None
        own = {name: value for name, value in self.variables.items() if name in {_DUAL_STACK, _FIPS}}
        found = {**environ, **own}
        ignored = found.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
        url = found.get("AWS_ENDPOINT_URL_STS") or found.get("AWS_ENDPOINT_URL") or ""
        return Role(
            arn=self.role_arn,
            session_name=self.session_name or default_session_name(found.get("AWS_LAMBDA_FUNCTION_NAME", "function")),
            external_id=self.external_id,
            region=found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION") or self.variables.get("AWS_REGION", ""),
            sts_url="" if ignored else url,
            fips=found.get(_FIPS, "").lower() == "true",
            dualstack=found.get(_DUAL_STACK, "").lower() == "true",
        )

    def names(self) -> dict[str, str]:
        """Return the words of a message that name an AWS variable or the role, and those that replace them."""
        names = {variable: f"LOGFERRY_{name}" for name, variable in _VARIABLES.items() if variable in self.variables}
        if "AWS_ACCESS_KEY_ID" in self.variables:
            names["the AWS_ variables"] = "the LOGFERRY_S3_ variables"
            names["the function's role"] = "the policy of LOGFERRY_S3_ACCESS_KEY_ID"
        if self.role_arn:
            names["the function's role"] = "the role of LOGFERRY_S3_ROLE_ARN"
        return names


def contradictions(parsed: Mapping[str, Any], _given: set[str]) -> Iterator[str]:
    """Yield the mistakes in combinations of the valid values."""
    if not parsed.get("S3_ROLE_ARN", "?"):
        for name in ("S3_ROLE_EXTERNAL_ID", "S3_ROLE_SESSION_NAME"):
            if parsed.get(name):
                yield f"LOGFERRY_{name} has no effect without a role: set LOGFERRY_S3_ROLE_ARN, or remove it"
    key_id, secret_key = (parsed.get(name, "?") for name in _PAIR)
    if bool(key_id) != bool(secret_key):
        present, missing = _PAIR if key_id else _PAIR[::-1]
        yield f"LOGFERRY_{present} is set, but LOGFERRY_{missing} is not: set both, or remove both"
    elif parsed.get("S3_SESSION_TOKEN") and not key_id:
        yield (
            "LOGFERRY_S3_SESSION_TOKEN has no effect without credentials: set LOGFERRY_S3_ACCESS_KEY_ID and "
            "LOGFERRY_S3_SECRET_ACCESS_KEY, or remove it"
        )


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def read(parsed: Mapping[str, Any]) -> S3Access:
    """Return the options of the parsed values."""
    return S3Access(
        variables={
            variable: _text(parsed[name]) for name, variable in _VARIABLES.items() if parsed[name] not in {"", None}
        },
        role_arn=parsed["S3_ROLE_ARN"],
        external_id=parsed["S3_ROLE_EXTERNAL_ID"],
        session_name=parsed["S3_ROLE_SESSION_NAME"],
    )
