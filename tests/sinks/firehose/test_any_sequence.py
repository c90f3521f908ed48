"""Any sequence of replies: no line is lost, and only lines of an ambiguous request are there twice."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.errors import SinkUnavailable
from logferry.http_client.response import HttpError, Response
from logferry.records.model import StoredObject
from logferry.sinks.firehose import sink as sink_module
from support.firehose_stub import KEYS, firehose_sink

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCEPT, PARTIAL, REFUSE, LOSE, LOSE_ACCEPTED, CANCEL = range(6)
"""All accepted; some accepted; none accepted; no response (not accepted, accepted); cancelled while in flight."""
replies = st.tuples(st.integers(ACCEPT, CANCEL), st.sets(st.integers(0, 12)))


class Script:
    """A stream that follows a script, and then accepts everything."""

    def __init__(self, steps: list[tuple[int, set[int]]]) -> None:
        self._steps = iter(steps)
        self.delivered: Counter[bytes] = Counter()
        self.ambiguous: Counter[bytes] = Counter()
        """Lines of accepted requests without a response."""

    async def request(self, _method: str, _path: str, _headers: Mapping[str, str], body: bytes) -> Response:
        """Return the next response, or raise as a broken connection does."""
        records = [base64.b64decode(each["Data"]) for each in json.loads(body)["Records"]]
        kind, failed = next(self._steps, (ACCEPT, set[int]()))
        if kind == REFUSE:
            return Response(503, {}, b"")
        if kind == LOSE:
            raise HttpError("the connection was lost")
        if kind in (LOSE_ACCEPTED, CANCEL):
            self.delivered.update(records)
            self.ambiguous.update(records)
            raise HttpError("the connection was lost") if kind == LOSE_ACCEPTED else asyncio.CancelledError
        failed = failed if kind == PARTIAL else set()
        self.delivered.update(record for place, record in enumerate(records) if place not in failed)
        results = [{"ErrorCode": "x"} if place in failed else {"RecordId": "a"} for place in range(len(records))]
        return Response(200, {}, json.dumps({"RequestResponses": results}).encode())


async def put_until_stored(script: Script, objects: list[StoredObject]) -> None:
    """Put the objects in turn, as the uploader does, until all are stored."""
    opened = firehose_sink(KEYS, max_lines=1)
    waiting = list(objects)
    with mock.patch.object(opened._client, "request", script.request):
        while waiting:
            stored = waiting.pop(0)
            try:
                await opened.put(stored)
            except (SinkUnavailable, asyncio.CancelledError):
                waiting.append(stored)
    assert opened._accepted._digests == {}


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(replies, max_size=14), counts=st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_no_line_is_lost_and_only_ambiguous_lines_are_repeated(
    steps: list[tuple[int, set[int]]], counts: list[int]
) -> None:
    """The memory of accepted records holds across failed and cancelled puts of several objects."""
    objects = [
        StoredObject(f"key{number}", b"".join(b"%d-%d\n" % (number, line) for line in range(count)), {}, "text")
        for number, count in enumerate(counts)
    ]
    script = Script(steps)
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(asyncio.new_event_loop()) as loop:
        patch.setattr(sink_module, "FIRST_SECONDS", 0.0)
        loop.run_until_complete(put_until_stored(script, objects))
    expected = Counter(line for one in objects for line in one.body.splitlines(keepends=True))
    assert expected - script.delivered == Counter()
    assert script.delivered - expected <= script.ambiguous
