"""Validation of subscriptions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.telemetry.subscription import LOGS_API, TELEMETRY_API, parse_subscription

VALID: dict[str, Any] = {
    "schemaVersion": "2025-01-29",
    "types": ["platform", "function"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/a/path"},
}


def parse(body: object, *, api: str = TELEMETRY_API, managed_instances: bool = False) -> Any:
    """Return the subscription of a body."""
    return parse_subscription(json.dumps(body).encode(), name="ext", api=api, managed_instances=managed_instances)


def test_a_subscription_has_the_documented_defaults() -> None:
    """The defaults are 10,000 records, 256 KiB and one second."""
    subscription = parse(VALID)
    assert (subscription.max_items, subscription.max_bytes, subscription.timeout_ms) == (10_000, 262_144, 1_000)
    assert subscription.url == "http://127.0.0.1:8080/a/path"
    assert parse(VALID | {"schemaVersion": "2020-08-15"}, api=LOGS_API).schema == "2020-08-15"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemaVersion": "2019-01-01"}, "schemaVersion 2019-01-01 is not supported"),
        ({"schemaVersion": None}, "schemaVersion is not provided"),
        ({"types": []}, "types should not be empty"),
        ({"types": ["platform", "metrics"]}, "types metrics are not known"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxBytes": 1048577}}, "maxBytes should be between 262144 and 1048576"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs should be between 25 and 30000"),
        ({"buffering": {"timeoutMs": "25"}}, "timeoutMs should be between 25 and 30000"),
        ({"destination": {"protocol": "TCP", "port": 8080}}, "protocol should be HTTP"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}}, "URI port is not provided"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:9001"}}, "9001 is reserved"),
        ({"destination": {"protocol": "HTTP", "URI": "http://127.0.0.1:80"}}, "host should be sandbox.localdomain"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:80"}}, "URI should be http"),
    ],
)
def test_an_invalid_subscription_is_rejected_with_its_error(change: dict[str, Any], message: str) -> None:
    """The response is 400 ValidationError and names the error."""
    with pytest.raises(ApiError) as raised:
        parse(VALID | change)
    assert (raised.value.status, raised.value.error_type) == (400, "ValidationError")
    assert message in raised.value.message


def test_an_invalid_subscription_is_rejected_with_all_errors_at_once() -> None:
    """AWS's response lists all errors."""
    with pytest.raises(ApiError, match="types should not be empty; URI port is not provided"):
        parse(VALID | {"types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox"}})


def test_managed_instances_accept_only_the_newest_schema() -> None:
    """The only schema is 2025-01-29."""
    parse(VALID, managed_instances=True)
    with pytest.raises(ApiError, match="2022-12-13 is not supported"):
        parse(VALID | {"schemaVersion": "2022-12-13"}, managed_instances=True)
