"""One put with a limit, and the parts of its error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from logferry.cli.check import sink_put
from logferry.cli.check.canary import canary_of
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.http_client.client import CONNECT_SECONDS

if TYPE_CHECKING:
    from logferry.records.model import StoredObject


class HangingSink:
    """A sink whose put never ends."""

    def __init__(self) -> None:
        self.is_closed = False

    async def connect(self) -> None:
        """Do nothing."""

    async def put(self, _stored: StoredObject) -> None:
        """Wait indefinitely."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Note the call."""
        self.is_closed = True


async def test_a_put_that_never_ends_is_cancelled_and_the_sink_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sinks have limits. This one covers a fault in them."""
    monkeypatch.setattr(sink_put, "EXTRA_SECONDS", -CONNECT_SECONDS)
    sink = HangingSink()
    error = await sink_put.put_bounded(sink, canary_of(object_headers={}), timeout_seconds=0.1)
    assert isinstance(error, SinkUnavailable)
    assert "not stored within 0.1 s" in str(error)
    assert sink.is_closed


def with_response(error: SinkError) -> SinkError:
    """Return an error with a response whose sentence contains a semicolon."""
    error.status, error.code, error.sentence = 403, "AccessDenied", "first; second"
    return error


@pytest.mark.parametrize(
    ("error", "text", "remedy"),
    [
        (SinkRejected("put x: cause; do this"), "cause", "do this"),
        (SinkUnavailable("put x: no response"), "no response", "repeat the check"),
        (with_response(SinkRejected("put x: 403 AccessDenied: first; second; do this")), None, "do this"),
        (with_response(SinkUnavailable("put x: 403 AccessDenied: first; second")), None, "repeat the check"),
    ],
)
def test_the_remedy_is_separated_from_the_response(error: SinkError, text: str | None, remedy: str) -> None:
    """A sentence of S3 can contain the separator of the remedy."""
    found, advice = sink_put.text_and_remedy(error)
    assert found == (text or "403 AccessDenied: first; second")
    assert advice.startswith(remedy)
