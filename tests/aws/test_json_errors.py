"""Code and sentence of an error response of a service with the AWS JSON protocol."""

from __future__ import annotations

import pytest

from logferry.aws.json_errors import parse_error


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b'{"__type":"InvalidArgumentException","message":"Too long."}', ("InvalidArgumentException", "Too long")),
        (
            {},
            b'{"__type":"com.amazonaws.firehose#ThrottlingException","Message":"Rate"}',
            ("ThrottlingException", "Rate"),
        ),
        ({"x-amzn-errortype": "AccessDeniedException:http://x/"}, b'{"message":"no"}', ("AccessDeniedException", "no")),
        ({}, b'{"code":"InternalFailure"}', ("InternalFailure", "")),
        ({}, b"<html>", ("", "")),
        ({}, b"", ("", "")),
        ({}, b"[]", ("", "")),
        ({}, b"null", ("", "")),
        ({}, b'{"__type":7,"message":{"a":1}}', ("7", "{'a': 1}")),
        ({}, b"[" * 100_000, ("", "")),
        ({}, b"\xff\xfe", ("", "")),
    ],
)
def test_code_and_sentence_are_read_from_every_form_of_an_error(
    headers: dict[str, str], body: bytes, expected: tuple[str, str]
) -> None:
    """The code is in the body or in a header, with or without a namespace."""
    assert parse_error(headers, body) == expected
