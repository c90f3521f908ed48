"""Each kind of destination as the fallback of another one: a function, the real extension, and every record once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from support.both_destinations import together
from support.end_to_end import arrived_in, assert_exactly_once, environment, lines_of, own_messages
from support.firehose_stub import STREAM, firehose_stub
from support.format_1 import read_line
from support.log_receiver import Answer, log_receiver

if TYPE_CHECKING:
    from pathlib import Path

NOT_WRITABLE = "file:///proc/logferry"
"""A directory that cannot be made, so that each upload fails."""
TOKEN = "token-that-no-message-contains"  # noqa: S105 - a made-up token


async def test_directory_has_the_records_if_a_receiver_refuses_the_token(tmp_path: Path) -> None:
    """The receiver gets one request, and no message contains the token."""
    with log_receiver(lambda _request, _number: Answer(401)) as receiver:
        settings = {
            "LOGFERRY_DESTINATION": receiver.url,
            "LOGFERRY_HTTPS_TOKEN": TOKEN,
            "LOGFERRY_FALLBACK_DESTINATION": f"file://{tmp_path}/fallback",
            "LOGFERRY_FLUSH": "invocation",
        }
        async with environment(tmp_path, settings) as service:
            for number in range(3):
                await service.invoke({"marker": f"m{number}"})
                await service.wait_idle()
            await service.shutdown()
        assert len(receiver.requests) == 1
    objects, _ = together([], arrived_in(tmp_path / "fallback"))
    assert_exactly_once(service, objects)
    messages = [message for message in own_messages(service) if "logferry warning" in message]
    assert len(messages) == 1
    assert f"fallback='file://{tmp_path}/fallback'" in messages[0]
    assert "check LOGFERRY_HTTPS_TOKEN" in messages[0]
    assert TOKEN not in "".join(own_messages(service))


async def test_directory_has_only_the_object_that_a_receiver_rejects(tmp_path: Path) -> None:
    """The receiver responds 413 to the first segment, and the other segments arrive there."""
    with log_receiver(lambda request, _number: Answer(413 if request.key.endswith("/1") else 200)) as receiver:
        settings = {
            "LOGFERRY_DESTINATION": receiver.url,
            "LOGFERRY_FALLBACK_DESTINATION": f"file://{tmp_path}/fallback",
            "LOGFERRY_FLUSH": "invocation",
        }
        async with environment(tmp_path, settings) as service:
            await service.invoke({"marker": "m0"})
            await service.wait_idle()
            await asyncio.sleep(1.3)  # the backoff that follows any failure
            await service.invoke({"marker": "m1"})
            await service.wait_idle()
            await service.shutdown()
        objects, copies = together(receiver.arrived(), arrived_in(tmp_path / "fallback"))
    assert_exactly_once(service, objects)
    assert copies == 0
    assert [one.metadata["segment"] for one in arrived_in(tmp_path / "fallback")] == ["1"]


async def test_receiver_has_the_last_records_if_a_directory_is_not_writable(tmp_path: Path) -> None:
    """Also a receiver whose path is a secret: the message names its host alone."""
    with log_receiver(path="/secret?key=1") as receiver:
        settings = {
            "LOGFERRY_DESTINATION": NOT_WRITABLE,
            "LOGFERRY_FALLBACK_DESTINATION": receiver.url,
            "LOGFERRY_FLUSH": "time",
        }
        async with environment(tmp_path, settings) as service:
            await service.invoke({"marker": "m"})
            await service.wait_idle()
            await service.shutdown()
        objects = receiver.arrived()
    assert_exactly_once(service, objects)
    assert lines_of(objects) == ["m-0"]
    assert "the fallback destination stores the records" in "".join(own_messages(service))
    assert "secret" not in "".join(own_messages(service))


async def test_stream_has_the_last_records_if_a_directory_is_not_writable(tmp_path: Path) -> None:
    """The encoder belongs to the destination: a stream gets lines without compression."""
    with firehose_stub() as stub:
        settings = {
            "LOGFERRY_DESTINATION": NOT_WRITABLE,
            "LOGFERRY_FALLBACK_DESTINATION": f"firehose://{STREAM}",
            "LOGFERRY_FLUSH": "time",
            **stub.environment,
        }
        async with environment(tmp_path, settings) as service:
            await service.invoke({"marker": "m"})
            await service.wait_idle()
            await service.shutdown()
        lines = [read_line(text.decode()) for text in stub.lines]
    assert [line["message"].strip() for line in lines if line["type"] == "function"] == ["m-0"]
    assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
    closing = lines[-1]
    assert closing["type"] == "logferry.final"
    assert json.loads(closing["record"])["fallback"] is True
