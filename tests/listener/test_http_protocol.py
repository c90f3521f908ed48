"""HTTP/1.1 of one connection without I/O: requests in any pieces, limits, and responses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from httptools import HttpParserCallbackError
from hypothesis import given
from hypothesis import strategies as st

from logferry.errors import JournalFull
from logferry.listener import http_protocol
from logferry.listener.http_protocol import MAX_BODY_BYTES, MAX_HEAD_BYTES, BodyBudget, RequestParser
from support.http_post import request

CHUNKED = b"POST /token HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
PATH = "/token"


@dataclass
class Journal:
    """A journal double that can fail."""

    bodies: list[bytes] = field(default_factory=list)
    fails: Exception | None = None

    def accept(self, body: bytes) -> None:
        """Store a batch, or raise the configured error."""
        if self.fails:
            raise self.fails
        self.bodies.append(body)


def new_parser(stored: Journal, *, budget: BodyBudget | None = None, close_after_first: bool = False) -> RequestParser:
    """Return the parser of a new connection, on which only `PATH` is allowed."""
    return RequestParser(
        accept=stored.accept,
        is_allowed=lambda path: path == PATH,
        budget=budget or BodyBudget(),
        close_after_first=close_after_first,
    )


def statuses(responses: bytes) -> list[int]:
    """Return the status of each response."""
    return [int(part.split(b" ", 1)[0]) for part in responses.split(b"HTTP/1.1 ")[1:]]


@given(bodies=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), data=st.data())
def test_parser_stores_batches_in_order_and_unchanged_in_any_pieces(bodies: list[bytes], data: st.DataObject) -> None:
    """TCP has no message boundaries. Each batch is answered once, when it is complete and not before."""
    raw = b"".join(request(body, path=PATH) for body in bodies)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    stored = Journal()
    parser = new_parser(stored)
    responses = b""
    for begin, end in itertools.pairwise([0, *cuts, len(raw)]):
        responses += parser.feed(memoryview(raw)[begin:end])
        assert len(statuses(responses)) == len(stored.bodies)
        assert parser.in_request == (sum(len(request(body, path=PATH)) for body in stored.bodies) < end)
    assert stored.bodies == bodies
    assert statuses(responses) == [200] * len(bodies)
    assert not parser.must_close


def test_parser_joins_the_chunks_of_a_body() -> None:
    """The Telemetry API does not exclude chunked transfer coding."""
    stored = Journal()
    assert statuses(new_parser(stored).feed(CHUNKED)) == [200]
    assert stored.bodies == [b"abcde"]


def test_parser_responds_100_to_a_client_that_waits_before_its_body() -> None:
    """A client may wait for 100 Continue before it sends a body, curl for a second (RFC 9110, 10.1.1)."""
    stored = Journal()
    parser = new_parser(stored)
    head, body = request(b"large", path=PATH, headers="Expect: 100-continue\r\n").split(b"\r\n\r\n")
    assert statuses(parser.feed(head + b"\r\n\r\n")) == [100]
    assert statuses(parser.feed(body)) == [200]
    assert stored.bodies == [b"large"]


def test_parser_responds_403_at_once_to_a_client_that_waits_before_its_body() -> None:
    """Such a client sends no body that could complete the request."""
    parser = new_parser(Journal())
    whole = request(b"!", path="/", headers="Expect: 100-continue\r\n")
    assert statuses(parser.feed(whole.removesuffix(b"!"))) == [403]
    assert parser.must_close


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(b"x", path=PATH, method="PUT"), 405),
        (request(b"x", path="/else"), 403),
        (request(b"x", path=PATH + "/"), 403),
        (b"POST /token HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST /token HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (request(b"x", path=PATH, headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"), 400),
        (b"\x16\x03\x01\x02\x00", 400),
    ],
)
def test_parser_responds_once_to_a_refused_request_and_ignores_the_rest(raw: bytes, status: int) -> None:
    """A valid request behind it is not answered on this connection, so its client sends it again."""
    stored = Journal()
    parser = new_parser(stored)
    responses = parser.feed(raw + request(b"next", path=PATH))
    assert parser.must_close
    assert statuses(responses) == [status]
    assert b"Connection: close" in responses
    assert parser.feed(request(b"next", path=PATH)) == b""
    assert stored.bodies == []


def test_parser_checks_the_path_without_its_query() -> None:
    """The token is the path; a query is not part of it."""
    stored = Journal()
    assert statuses(new_parser(stored).feed(request(b"x", path=PATH + "?a=b"))) == [200]


def test_parser_refuses_an_endless_head_in_small_pieces() -> None:
    """The llhttp parser would keep all of it."""
    parser = new_parser(Journal())
    assert parser.feed(b"POST /token HTTP/1.1\r\n") == b""
    for _ in range(MAX_HEAD_BYTES // 10 + 1):
        if responses := parser.feed(b"X: 12345\r\n"):
            break
    assert statuses(responses) == [431]


def test_parser_refuses_an_endless_trailer() -> None:
    """The llhttp parser would keep all of it; it follows the body, and was not counted before."""
    stored = Journal()
    parser = new_parser(stored)
    assert parser.feed(CHUNKED.removesuffix(b"\r\n") + b"X: ") == b""
    responses = b""
    for _ in range(MAX_HEAD_BYTES // 1000 + 1):
        responses += parser.feed(b"x" * 1000)
    assert statuses(responses) == [431]
    assert stored.bodies == []


@pytest.mark.parametrize("size", [3, 100, 4096])
def test_parser_accepts_a_body_in_small_chunks(size: int) -> None:
    """The chunk headers do not count as a request head."""
    stored = Journal()
    parser = new_parser(stored)
    raw, chunk = CHUNKED.split(b"3\r\n")[0], b"%x\r\n%b\r\n" % (size, b"x" * size)
    whole = raw + chunk * (300_000 // size // 10) + b"0\r\n\r\n"
    responses = b"".join(parser.feed(whole[at : at + 1000]) for at in range(0, len(whole), 1000))
    assert statuses(responses) == [200]


def test_parser_limits_each_head_separately() -> None:
    """A connection that stays open for long receives many heads."""
    stored = Journal()
    parser = new_parser(stored)
    for _ in range(MAX_HEAD_BYTES // 50):
        assert parser.feed(request(b"!", path=PATH).removesuffix(b"!")) == b""
        assert statuses(parser.feed(b"!")) == [200]


def test_parser_does_not_count_earlier_requests_to_a_head_in_the_same_piece() -> None:
    """Before, complete requests in the same piece were counted with the head."""
    stored = Journal()
    parser = new_parser(stored)
    many, half = MAX_HEAD_BYTES // 10, request(b"x", path=PATH)[:20]
    assert statuses(parser.feed(request(b"x", path=PATH) * many + half)) == [200] * many
    assert not parser.must_close


def test_parser_responds_503_with_the_reason_if_the_journal_is_full() -> None:
    """The platform delivers the batch again, on the same connection."""
    stored = Journal(fails=JournalFull("the spool is full"))
    parser = new_parser(stored)
    responses = parser.feed(request(b"x", path=PATH))
    assert statuses(responses) == [503]
    assert b"the spool is full" in responses
    stored.fails = None
    assert statuses(parser.feed(request(b"x", path=PATH))) == [200]
    assert stored.bodies == [b"x"]


def test_parser_raises_a_defect_of_logferry() -> None:
    """The batch is not stored, so 200 would be wrong, and 400 would blame the client."""
    with pytest.raises(HttpParserCallbackError) as raised:
        new_parser(Journal(fails=ZeroDivisionError("a defect"))).feed(request(b"x", path=PATH))
    assert isinstance(raised.value.__context__, ZeroDivisionError)


@pytest.mark.parametrize("asked", ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
def test_parser_closes_the_connection_if_the_client_asks_for_it(asked: str) -> None:
    """HTTP/1.0 closes by default."""
    stored = Journal()
    parser = new_parser(stored)
    responses = parser.feed(f"POST /token {asked}Content-Length: 1\r\n\r\nx".encode())
    assert statuses(responses) == [200]
    assert b"Connection: close" in responses
    assert parser.must_close


def test_parser_announces_that_it_closes_after_the_first_response() -> None:
    """The bootstrap server leaves the next batch to the listener."""
    stored = Journal()
    parser = new_parser(stored, close_after_first=True)
    responses = parser.feed(request(b"one", path=PATH) + request(b"two", path=PATH))
    assert statuses(responses) == [200]
    assert b"Connection: close" in responses
    assert stored.bodies == [b"one"]
    assert parser.must_close


def test_parsers_share_the_budget_of_incomplete_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body beyond the budget is refused with 503, and each stored or discarded body frees its part."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 60)
    stored, budget = Journal(), BodyBudget(100)
    one, two, three = (new_parser(stored, budget=budget) for _ in range(3))
    body = request(b"x" * 60, path=PATH)
    assert one.feed(body[:-1]) == b""
    assert statuses(two.feed(body[:-1])) == [503]
    assert two.must_close
    assert statuses(one.feed(body[-1:])) == [200]
    assert three.feed(body[:-1]) == b""
    assert statuses(three.abandon()) == [408]
    assert statuses(new_parser(stored, budget=budget).feed(body)) == [200]
    assert budget.take(100)
    assert not budget.take(1)


def test_parser_refuses_a_body_without_a_length_when_it_exceeds_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that was kept is discarded."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 4)
    stored, budget = Journal(), BodyBudget(100)
    assert statuses(new_parser(stored, budget=budget).feed(CHUNKED)) == [413]
    assert budget.take(100)


def test_parser_responds_nothing_to_a_client_that_is_abandoned_between_requests() -> None:
    """Without a request there is no response."""
    parser = new_parser(Journal())
    parser.feed(request(b"x", path=PATH))
    assert parser.abandon() == b""
    assert parser.must_close
