"""The Firehose sink against a stub: partial failures, ambiguous failures, corrections, and messages."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from logferry.aws.timestamps import amz_date
from logferry.errors import SinkRejected, SinkUnavailable
from logferry.log import get_logger
from logferry.records.model import StoredObject
from logferry.sinks.firehose import open_sink, sink
from support.connect_proxy import connect_proxy
from support.container_endpoint import container_endpoint
from support.firehose_stub import KEYS, STREAM, Reply, firehose_sink, firehose_stub, replying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from logferry.sinks.firehose.sink import FirehoseSink
    from support.firehose_stub import FirehoseStub

pytestmark = pytest.mark.timeout(60)

HOUR = 3600
SLOW_DOWN = Reply(status=503, code="ServiceUnavailableException", message="Slow down.")


def object_of(count: int, *, size: int = 0, key: str = "function=f/x.ndjson") -> StoredObject:
    """Return an object with numbered lines."""
    body = b"".join(b'{"line":%d,"message":"%s"}\n' % (number, b"x" * size) for number in range(1, count + 1))
    return StoredObject(key, body, {"records": str(count)}, "application/x-ndjson")


@pytest.fixture(autouse=True)
def _quick_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(sink, "LONGEST_SECONDS", 0.02)


@contextlib.asynccontextmanager
async def closing(opened: FirehoseSink) -> AsyncIterator[FirehoseSink]:
    """Close the sink afterwards."""
    try:
        yield opened
    finally:
        opened.close()


# --- all records accepted


@pytest.mark.parametrize(
    ("count", "size", "max_lines"), [(1, 0, 500), (1201, 0, 1), (6000, 1000, 500), (9, 900_000, 500)]
)
async def test_every_line_is_accepted_once_within_the_limits(count: int, size: int, max_lines: int) -> None:
    """The stub judges each request by botocore's model and by the size of a request."""
    stored = object_of(count, size=size)
    with firehose_stub() as stub:
        async with closing(firehose_sink(stub.environment, max_lines=max_lines)) as opened:
            await opened.put(stored)
        assert b"".join(stub.accepted) == stored.body
        assert stub.connections == 1


async def test_object_without_a_body_needs_no_request() -> None:
    """A request without records is not valid."""
    with firehose_stub() as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            await opened.put(object_of(0))
        assert stub.requests == []


async def test_response_for_500_records_is_read_completely() -> None:
    """It is longer than any response of S3."""
    with firehose_stub() as stub:
        async with closing(firehose_sink(stub.environment, max_lines=1)) as opened:
            await opened.put(object_of(500))
        assert len(stub.requests) == 1


async def test_shortened_line_is_reported_with_the_number_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a record is lost, and a message states it after the object is stored."""
    warnings: list[dict[str, object]] = []
    monkeypatch.setattr(type(get_logger()), "warning", lambda _self, _message, **details: warnings.append(details))
    with firehose_stub(replying(SLOW_DOWN, Reply())) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            with pytest.raises(SinkUnavailable):
                await opened.put(object_of(2, size=1_100_000))
            assert warnings == []
            await opened.put(object_of(2, size=1_100_000))
        assert warnings == [{"key": "function=f/x.ndjson", "lines": 2}]
        assert len(stub.lines) == 2


# --- partial failures


async def test_only_failed_records_are_sent_again_within_the_put() -> None:
    """The order of the repetition does not matter, because each line has its number."""
    stored = object_of(10)
    with firehose_stub(replying(Reply(failed=(1, 4, 9)), Reply(failed=(0,)), Reply())) as stub:
        async with closing(firehose_sink(stub.environment, max_lines=1)) as opened:
            await opened.put(stored)
        assert [len(request.records) for request in stub.requests] == [10, 3, 1]
        assert Counter(stub.lines) == Counter(stored.body.splitlines())


async def test_stream_that_fails_half_of_the_records_gets_each_line_once() -> None:
    """The next `put` of the object continues after each failed one."""
    seed = random.randrange(1 << 30)  # noqa: S311 - printed, so that the run can be repeated
    print(f"seed {seed}")
    chance, guard = random.Random(seed), 200  # noqa: S311

    def reply(_number: int, records: Sequence[bytes]) -> Reply:
        return Reply(failed=[place for place in range(len(records)) if chance.random() < 0.5])

    stored = object_of(1500)
    with firehose_stub(reply) as stub:
        async with closing(firehose_sink(stub.environment, max_lines=1)) as opened:
            for _ in range(guard):
                with contextlib.suppress(SinkUnavailable):
                    await opened.put(stored)
                    break
        assert Counter(stub.lines) == Counter(stored.body.splitlines())


async def test_put_ends_after_several_requests_without_an_accepted_record() -> None:
    """The message names Firehose's sentence, and the next `put` continues with the rest."""
    stored = object_of(5)
    replies = [Reply(failed=(2, 3)), *[Reply(failed=(0, 1))] * (sink.MAX_FUTILE + 1), Reply()]
    with firehose_stub(replying(*replies)) as stub:
        async with closing(firehose_sink(stub.environment, max_lines=1)) as opened:
            with pytest.raises(SinkUnavailable) as caught:
                await opened.put(stored)
            assert str(caught.value).startswith(
                f"put firehose://{STREAM}: function=f/x.ndjson: 2 of 5 records are not accepted yet: "
                "ServiceUnavailableException: Slow down; if this recurs, "
            )
            assert len(stub.requests) == len(replies) - 1
            await opened.put(stored)
        assert [request.records for request in stub.requests][-1] == [
            stored.body.splitlines(keepends=True)[n] for n in (2, 3)
        ]
        assert Counter(stub.lines) == Counter(stored.body.splitlines())


async def test_put_with_failing_records_ends_before_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The uploader would cancel it with a message that does not name the cause."""
    monkeypatch.setattr(sink, "MAX_FUTILE", 10_000)
    began = time.monotonic()
    with firehose_stub(replying(Reply(failed=(0,)))) as stub:
        async with closing(firehose_sink(stub.environment, timeout_seconds=0.5)) as opened:
            with pytest.raises(SinkUnavailable, match=r"1 of 1 records are not accepted yet"):
                await opened.put(object_of(1))
    assert time.monotonic() - began >= 0.5 * sink.FAILING_SHARE - sink.LONGEST_SECONDS


async def test_put_that_was_cancelled_continues_with_the_rest() -> None:
    """The uploader cancels a put at its limit. Records of finished requests are not sent again."""
    stored = object_of(8, size=900_000)
    second = asyncio.Event()
    loop = asyncio.get_running_loop()

    def reply(number: int, _records: Sequence[bytes]) -> Reply:
        if number == 2:
            loop.call_soon_threadsafe(second.set)
            return Reply(closes=True, status=500, seconds=0.3)
        return Reply()

    with firehose_stub(reply) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            task = asyncio.create_task(opened.put(stored))
            await asyncio.wait_for(second.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await opened.put(stored)
        assert Counter(stub.lines) == Counter(stored.body.splitlines())


async def test_changed_closing_line_repeats_one_record_only() -> None:
    """A segment can become the final one between two attempts."""
    first = object_of(1000)
    changed = first._replace(body=first.body.replace(b'{"line":1000,', b'{"final":1000,'))
    with firehose_stub(replying(Reply(failed=(1,)), SLOW_DOWN, Reply())) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            with pytest.raises(SinkUnavailable):
                await opened.put(first)
            await opened.put(changed)
        assert Counter(stub.lines) == Counter(changed.body.splitlines())


# --- failures of a whole request


async def test_throttled_request_is_one_attempt() -> None:
    """A repetition within the put would ignore the circuit breaker."""
    with firehose_stub(replying(SLOW_DOWN._replace(headers={"Retry-After": "7"}))) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            with pytest.raises(SinkUnavailable, match=r"503 ServiceUnavailableException: Slow down$") as caught:
                await opened.put(object_of(3))
        assert caught.value.retry_after == 7
        assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "ambiguous",
    [
        Reply(status=500, code="InternalFailure", accepts=True),
        Reply(accepts=True, closes=True),
        Reply(raw=b"<html>proxy</html>"),
        Reply(raw=b"{}"),
        Reply(raw=b'{"FailedPutCount":0,"RequestResponses":[]}'),
        Reply(raw=b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"},{}]}'),
        Reply(raw=b"{" * 2_000_000),
    ],
    ids=["500", "closed", "page", "no results", "empty", "too many", "endless"],
)
async def test_ambiguous_failure_repeats_the_request_and_loses_nothing(ambiguous: Reply) -> None:
    """Firehose may have accepted the records. Readers find each line at least once, and can remove repetitions."""
    stored = object_of(3)
    with firehose_stub(replying(ambiguous, ambiguous, Reply())) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            while True:
                try:
                    await opened.put(stored)
                except SinkUnavailable:
                    continue
                break
        assert set(stub.lines) == set(stored.body.splitlines())
        assert len(stub.requests) == 3


async def test_slow_response_on_a_kept_connection_does_not_repeat_the_request() -> None:
    """The server has the complete request, and would store its records twice."""
    with firehose_stub(replying(Reply(), Reply(seconds=2.5))) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            await opened.put(object_of(1))
            await opened.put(object_of(2, key="other"))
        assert [len(request.records) for request in stub.requests] == [1, 1]
        assert len(stub.lines) == 3


# --- corrections


async def test_clock_skew_is_corrected_from_the_date_of_the_response() -> None:
    """The request is signed again once, and later requests use the same offset."""
    date = formatdate(time.time() + 2 * HOUR, usegmt=True)
    skewed = Reply(
        status=400,
        code="InvalidSignatureException",
        message="Signature expired: 20261121T022624Z is now earlier than 20261121T042124Z",
        headers={"Date": date},
    )
    with firehose_stub(replying(skewed, Reply())) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            await opened.put(object_of(1))
            await opened.put(object_of(1, key="other"))
        hours = [
            next(ahead for ahead in (0, 2) for s in range(-20, 20) if amz_date(time.time() + ahead * HOUR + s) == given)
            for given in (request.headers["x-amz-date"] for request in stub.requests)
        ]
        assert hours == [0, 2, 2]


async def test_clock_that_cannot_be_corrected_is_unavailable() -> None:
    """One correction per request; the message names the clock."""
    skewed = Reply(status=400, code="InvalidSignatureException", message="Signature not yet current: …")
    with firehose_stub(replying(skewed)) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            with pytest.raises(SinkUnavailable, match="clock of this environment differs from Firehose's"):
                await opened.put(object_of(1))
        assert len(stub.requests) == 2


async def test_expired_container_credentials_are_renewed_once() -> None:
    """Firehose rejects them although their expiration is far away."""
    expired = Reply(status=400, code="ExpiredTokenException", message="The security token included … is expired")
    async with container_endpoint() as endpoint:
        with firehose_stub(replying(expired, Reply())) as stub:
            environment = {k: v for k, v in stub.environment.items() if "KEY" not in k} | endpoint.environ
            async with closing(firehose_sink(environment)) as opened:
                await opened.put(object_of(1))
            assert [request.headers["x-amz-security-token"] for request in stub.requests] == ["token1", "token2"]


async def test_expired_static_credentials_are_rejected_with_one_request() -> None:
    """There are no others, so a repetition would fail as well."""
    expired = Reply(status=400, code="ExpiredTokenException", message="The security token is expired")
    with firehose_stub(replying(expired)) as stub:
        async with closing(firehose_sink(stub.environment)) as opened:
            with pytest.raises(SinkRejected, match="credentials of this environment have expired"):
                await opened.put(object_of(1))
        assert len(stub.requests) == 1


# --- configurations without a client


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"AWS_REGION": ""}, "AWS_REGION is not set"),
        ({"AWS_REGION": "mars-north-1"}, "in no known partition; set AWS_ENDPOINT_URL_FIREHOSE"),
        ({"AWS_REGION": "fips-us-east-1"}, "is not the name of one region"),
        ({"AWS_ENDPOINT_URL": "https://user@host/"}, "AWS_ENDPOINT_URL is not a plain http or https URL"),
        ({"AWS_ENDPOINT_URL": "https://h", "AWS_USE_FIPS_ENDPOINT": "true"}, "are both set; remove one"),
        ({"HTTPS_PROXY": "socks5://proxy:3128"}, "HTTPS_PROXY is not the address of an HTTP proxy"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "are not both set; give the function a role"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "neither static nor container credentials"),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"},
            "AWS_WEB_IDENTITY_TOKEN_FILE is set",
        ),
    ],
)
async def test_configuration_that_is_not_covered_is_rejected_with_the_remedy(
    changes: dict[str, str], reason: str
) -> None:
    """The sink sends no request, and no message contains a secret."""
    opened = open_sink(STREAM, "", KEYS | changes, 5.0)
    await opened.connect()
    with pytest.raises(SinkRejected, match=rf"^put function=f/x\.ndjson: .*{reason}") as caught:
        await opened.put(object_of(1))
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


async def test_proxy_of_the_environment_is_used_unless_the_host_is_excluded(stub: FirehoseStub) -> None:
    """The variables have the meaning that they have for the AWS SDKs."""
    endpoint = {"AWS_ENDPOINT_URL_FIREHOSE": "http://firehose.example.com"}
    async with connect_proxy(stub.port) as proxy:
        variables = KEYS | endpoint | {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        opened = open_sink(STREAM, "", variables, 5.0)
        await opened.put(object_of(2))
        opened.close()  # type: ignore[attr-defined]
        assert [head.splitlines()[0] for head in proxy.heads] == ["CONNECT firehose.example.com:80 HTTP/1.1"]
        assert len(stub.lines) == 2
        direct = open_sink(STREAM, "", variables | stub.environment | {"NO_PROXY": "127.0.0.1"}, 5.0)
        await direct.put(object_of(1))
        direct.close()  # type: ignore[attr-defined]
        assert len(proxy.heads) == 1
        assert len(stub.lines) == 3


async def test_region_of_the_destination_is_signed_and_resolved(stub: FirehoseStub) -> None:
    """The stream may be in another region than the function."""
    opened = open_sink(STREAM, "us-west-2", stub.environment, 5.0)
    await opened.put(object_of(1))
    opened.close()  # type: ignore[attr-defined]
    (request,) = stub.requests
    assert "/us-west-2/firehose/aws4_request" in request.headers["authorization"]


@pytest.fixture
def stub() -> object:
    """Run a stub that accepts all."""
    with firehose_stub() as running:
        yield running


async def test_connect_opens_the_connection_that_put_uses(stub: FirehoseStub) -> None:
    """No request is made for it."""
    async with closing(firehose_sink(stub.environment)) as opened:
        await opened.connect()
        assert stub.requests == []
        await opened.put(object_of(1))
        assert stub.connections == 1


async def test_connect_does_not_raise_without_credentials_or_server() -> None:
    """The put meets and reports the failure."""
    with firehose_stub() as stub:
        environment = stub.environment
    async with closing(firehose_sink(environment)) as opened:
        await opened.connect()
        with pytest.raises(SinkUnavailable, match=rf"put firehose://{STREAM}: .*cannot connect to 127\.0\.0\.1"):
            await opened.put(object_of(1))
