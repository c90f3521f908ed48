"""What an extension may ask of the Telemetry API and of the Logs API, and what it gets when it asks wrongly.

Pure: a body in, a Subscription out, or a RefusalError that lists every mistake at once, as AWS's own answer does
(`URI port is not provided; types should not be empty`).
Bounds: "Lambda Telemetry API reference", "Lambda Logs API", and `telemetry-subscription-schema.json` in
aws-lambda-runtime-interface-emulator, which agree on all but the default of maxItems.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from logferry.emulator.apis.api_error import RefusalError

TELEMETRY_API, LOGS_API = "Telemetry", "Logs"
TELEMETRY_SCHEMAS: tuple[str, ...] = ("2022-07-01", "2022-12-13", "2025-01-29")
MANAGED_INSTANCES_SCHEMAS: tuple[str, ...] = ("2025-01-29",)
LOGS_SCHEMAS: tuple[str, ...] = ("2020-08-15", "2021-03-18")

TYPES = ("platform", "function", "extension")
DESTINATION_HOSTS = ("sandbox.localdomain", "sandbox")
RESERVED_PORT = 9001
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Bounds:
    """Default, least and most of one key of `buffering`."""

    default: int
    least: int
    most: int


MAX_ITEMS = Bounds(10_000, 1_000, 10_000)
MAX_BYTES = Bounds(262_144, 262_144, 1_048_576)
TIMEOUT_MS = Bounds(1_000, 25, 30_000)
_BUFFERING = {"maxItems": MAX_ITEMS, "maxBytes": MAX_BYTES, "timeoutMs": TIMEOUT_MS}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A valid wish: whom to tell what, how much at a time, and where."""

    name: str
    api: str
    schema: str
    types: tuple[str, ...]
    max_items: int
    max_bytes: int
    timeout_ms: int
    port: int
    path: str

    @property
    def url(self) -> str:
        """Where to POST: the host name of the sandbox is this machine's loopback address here."""
        return f"http://127.0.0.1:{self.port}{self.path}"


def parse_subscription(
    body: bytes, *, name: str, api: str, managed_instances: bool, refused_schemas: frozenset[str] = frozenset()
) -> Subscription:
    """Read the body of a subscription. Raises RefusalError (400) when anything in it is wrong."""
    wish = _parse_object(body, api)
    mistakes: list[str] = []
    schema = _schema(wish, api, managed_instances=managed_instances, refused=refused_schemas, mistakes=mistakes)
    types = _types(wish, mistakes)
    buffering = _buffering(wish, mistakes)
    port, path = _destination(wish, mistakes)
    if mistakes:
        raise _validation_error(api, "; ".join(mistakes))
    return Subscription(
        name,
        api,
        schema,
        types,
        max_items=buffering["maxItems"],
        max_bytes=buffering["maxBytes"],
        timeout_ms=buffering["timeoutMs"],
        port=port,
        path=path,
    )


def _validation_error(api: str, message: str) -> RefusalError:
    error_type = "Logs.ValidationError" if api == LOGS_API else "ValidationError"
    return RefusalError(error_type, message, status=HTTPStatus.BAD_REQUEST)


def _parse_object(body: bytes, api: str) -> dict[str, Any]:
    try:
        wish = json.loads(body)
    except ValueError as error:
        raise _validation_error(api, f"failed to parse JSON: {error}") from None
    if not isinstance(wish, dict):
        raise _validation_error(api, "the body should be an object")
    return wish


def _schema(
    wish: dict[str, Any], api: str, *, managed_instances: bool, refused: frozenset[str], mistakes: list[str]
) -> str:
    known = LOGS_SCHEMAS if api == LOGS_API else TELEMETRY_SCHEMAS
    if managed_instances:
        known = MANAGED_INSTANCES_SCHEMAS
    schema = wish.get("schemaVersion", LOGS_SCHEMAS[0] if api == LOGS_API else None)
    if schema is None:
        mistakes.append("schemaVersion is not provided")
    elif schema not in known or schema in refused:
        mistakes.append(f"schemaVersion {schema} is not supported")
    return str(schema)


def _types(wish: dict[str, Any], mistakes: list[str]) -> tuple[str, ...]:
    types = wish.get("types")
    if not isinstance(types, list) or not types:
        mistakes.append("types should not be empty")
        return ()
    unknown = [str(t) for t in types if t not in TYPES]
    if unknown:
        mistakes.append(f"types {', '.join(unknown)} are not known")
    return tuple(str(t) for t in types)


def _buffering(wish: dict[str, Any], mistakes: list[str]) -> dict[str, int]:
    asked = wish.get("buffering") or {}
    if not isinstance(asked, dict):
        mistakes.append("buffering should be an object")
        asked = {}
    result = {}
    for key, bounds in _BUFFERING.items():
        value = asked.get(key, bounds.default)
        if type(value) is not int or not bounds.least <= value <= bounds.most:
            mistakes.append(f"buffering.{key} should be between {bounds.least} and {bounds.most}")
        result[key] = value
    return result


def _destination(wish: dict[str, Any], mistakes: list[str]) -> tuple[int, str]:
    destination = wish.get("destination")
    if not isinstance(destination, dict):
        mistakes.append("destination is not provided")
        return 0, ""
    if destination.get("protocol") != "HTTP":
        mistakes.append("destination.protocol should be HTTP (TCP exists on Lambda and not in this emulator)")
        return 0, ""
    uri = destination.get("URI")
    if not isinstance(uri, str):
        mistakes.append("destination.URI is not provided")
        return 0, ""
    return _address(uri, mistakes)


def _address(uri: str, mistakes: list[str]) -> tuple[int, str]:
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http":
        mistakes.append("URI should be http")
    if parts.hostname not in DESTINATION_HOSTS:
        mistakes.append(f"URI host should be {DESTINATION_HOSTS[0]}")
    if port is None or not 0 < port <= HIGHEST_PORT:
        mistakes.append("URI port is not provided")
    elif port == RESERVED_PORT:
        mistakes.append(f"URI port {RESERVED_PORT} is reserved")
    return port or 0, parts.path or "/"
