"""Errors keep what the caller needs when their message changes."""

from __future__ import annotations

import pytest

from logferry.errors import SinkError, SinkRejected, SinkUnavailable


@pytest.mark.parametrize("kind", [SinkUnavailable, SinkRejected])
def test_restated_error_keeps_its_kind_and_the_facts_of_the_response(kind: type[SinkError]) -> None:
    """Each layer adds to the message, and the circuit breaker still finds the requested delay."""
    error = kind("429")
    error.status, error.code, error.sentence, error.retry_after = 429, "SlowDown", "reduce your rate", 30.0
    found = error.restated("put s3://logs/a: 429")
    assert type(found) is kind
    assert str(found) == "put s3://logs/a: 429"
    assert (found.status, found.code, found.sentence, found.retry_after) == (429, "SlowDown", "reduce your rate", 30.0)
    assert (str(error), kind("other").retry_after) == ("429", 0.0)


def test_restated_rejection_of_an_object_stays_one() -> None:
    """The other objects are uploaded."""
    error = SinkRejected("413")
    error.is_of_object = True
    found = error.restated("put: 413")
    assert isinstance(found, SinkRejected)
    assert found.is_of_object
