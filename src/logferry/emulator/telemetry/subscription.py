"""Validation of subscriptions to the Telemetry API and to the Logs API.

Pure: a body in, a Subscription out. An ApiError lists every error at once, as AWS's response does
(`URI port is not provided; types should not be empty`).

References: "Lambda Telemetry API reference", "Lambda Logs API", and
`telemetry-subscription-schema.json` in aws-lambda-runtime-interface-emulator. The bounds agree in all
three, except for the default of maxItems.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from logferry.emulator.apis.api_error import ApiError

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
    """Default, minimum and maximum of one key of `buffering`."""

    default: int
    minimum: int
    maximum: int


MAX_ITEMS = Bounds(10_000, 1_000, 10_000)
MAX_BYTES = Bounds(262_144, 262_144, 1_048_576)
TIMEOUT_MS = Bounds(1_000, 25, 30_000)
_BUFFERING = {"maxItems": MAX_ITEMS, "maxBytes": MAX_BYTES, "timeoutMs": TIMEOUT_MS}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A valid subscription."""

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
        """The address for requests; the sandbox host name is the loopback address here."""
        return f"http://127.0.0.1:{self.port}{self.path}"


def parse_subscription(
    body: bytes, *, name: str, api: str, managed_instances: bool, rejected_schemas: frozenset[str] = frozenset()
) -> Subscription:
    """Parse the body of a subscription; raise ApiError (400) if it is invalid."""
    document = _parse_object(body, api)
    errors: list[str] = []
    schema = _schema(document, api, managed_instances=managed_instances, rejected=rejected_schemas, errors=errors)
    types = _types(document, errors)
    buffering = _buffering(document, errors)
    port, path = _destination(document, errors)
    if errors:
        raise _validation_error(api, "; ".join(errors))
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


def _validation_error(api: str, message: str) -> ApiError:
    error_type = "Logs.ValidationError" if api == LOGS_API else "ValidationError"
    return ApiError(error_type, message, status=HTTPStatus.BAD_REQUEST)


def _parse_object(body: bytes, api: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _validation_error(api, f"failed to parse JSON: {error}") from None
    if not isinstance(document, dict):
        raise _validation_error(api, "the body should be an object")
    return document


def _schema(
    document: dict[str, Any], api: str, *, managed_instances: bool, rejected: frozenset[str], errors: list[str]
) -> str:
    known = LOGS_SCHEMAS if api == LOGS_API else TELEMETRY_SCHEMAS
    if managed_instances:
        known = MANAGED_INSTANCES_SCHEMAS
    schema = document.get("schemaVersion", LOGS_SCHEMAS[0] if api == LOGS_API else None)
    if schema is None:
        errors.append("schemaVersion is not provided")
    elif schema not in known or schema in rejected:
        errors.append(f"schemaVersion {schema} is not supported")
    return str(schema)


def _types(document: dict[str, Any], errors: list[str]) -> tuple[str, ...]:
    types = document.get("types")
    if not isinstance(types, list) or not types:
        errors.append("types should not be empty")
        return ()
    unknown = [str(t) for t in types if t not in TYPES]
    if unknown:
        errors.append(f"types {', '.join(unknown)} are not known")
    return tuple(str(t) for t in types)


def _buffering(document: dict[str, Any], errors: list[str]) -> dict[str, int]:
    requested = document.get("buffering") or {}
    if not isinstance(requested, dict):
        errors.append("buffering should be an object")
        requested = {}
    result = {}
    for key, bounds in _BUFFERING.items():
        value = requested.get(key, bounds.default)
        if type(value) is not int or not bounds.minimum <= value <= bounds.maximum:
            errors.append(f"buffering.{key} should be between {bounds.minimum} and {bounds.maximum}")
        result[key] = value
    return result


def _destination(document: dict[str, Any], errors: list[str]) -> tuple[int, str]:
    destination = document.get("destination")
    if not isinstance(destination, dict):
        errors.append("destination is not provided")
        return 0, ""
    if destination.get("protocol") != "HTTP":
        errors.append("destination.protocol should be HTTP (TCP exists on Lambda and not in this emulator)")
        return 0, ""
    uri = destination.get("URI")
    if not isinstance(uri, str):
        errors.append("destination.URI is not provided")
        return 0, ""
    return _address(uri, errors)


def _address(uri: str, errors: list[str]) -> tuple[int, str]:
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http":
        errors.append("URI should be http")
    if parts.hostname not in DESTINATION_HOSTS:
        errors.append(f"URI host should be {DESTINATION_HOSTS[0]}")
    if port is None or not 0 < port <= HIGHEST_PORT:
        errors.append("URI port is not provided")
    elif port == RESERVED_PORT:
        errors.append(f"URI port {RESERVED_PORT} is reserved")
    return port or 0, parts.path or "/"
