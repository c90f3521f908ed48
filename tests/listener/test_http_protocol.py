"""The HTTP of one connection, without its I/O: what comes in, whatever the pieces, and what is answered."""

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

CHUNKED = b"POST /door HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
PATH = "/door"


@dataclass
class Stored:
    """A journal that can be told to be full, or to be broken."""

    bodies: list[bytes] = field(default_factory=list)
    fails: Exception | None = None

    def accept(self, body: bytes) -> None:
        """Store, or fail as told."""
        if self.fails:
            raise self.fails
        self.bodies.append(body)


def opened(stored: Stored, *, room: BodyBudget | None = None, once: bool = False) -> RequestParser:
    """Give the exchange of a new connection, whose path is `PATH`."""
    return RequestParser(
        accept=stored.accept, is_allowed=lambda path: path == PATH, room=room or BodyBudget(), once=once
    )


def statuses(answers: bytes) -> list[int]:
    """Give the status of each answer."""
    return [int(part.split(b" ", 1)[0]) for part in answers.split(b"HTTP/1.1 ")[1:]]


@given(bodies=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), data=st.data())
def test_deliveries_are_stored_in_order_and_to_the_byte_however_their_bytes_are_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    """A connection knows no borders; each delivery is answered once, when it is whole and not before."""
    raw = b"".join(request(body, path=PATH) for body in bodies)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    stored = Stored()
    it = opened(stored)
    answers = b""
    for begin, end in itertools.pairwise([0, *cuts, len(raw)]):
        answers += it.feed(memoryview(raw)[begin:end])
        assert len(statuses(answers)) == len(stored.bodies)
        assert it.under_way == (sum(len(request(body, path=PATH)) for body in stored.bodies) < end)
    assert stored.bodies == bodies
    assert statuses(answers) == [200] * len(bodies)
    assert not it.over


def test_a_body_in_chunks_is_one_delivery() -> None:
    """Nothing in the API forbids the platform to chunk."""
    stored = Stored()
    assert statuses(opened(stored).feed(CHUNKED)) == [200]
    assert stored.bodies == [b"abcde"]


def test_who_asks_whether_to_go_on_is_told_so() -> None:
    """RFC 9110, 10.1.1: a client may wait for that before it sends a body, curl for a second."""
    stored = Stored()
    it = opened(stored)
    head, body = request(b"large", path=PATH, headers="Expect: 100-continue\r\n").split(b"\r\n\r\n")
    assert statuses(it.feed(head + b"\r\n\r\n")) == [100]
    assert statuses(it.feed(body)) == [200]
    assert stored.bodies == [b"large"]


def test_who_asks_whether_to_go_on_and_is_not_admitted_is_told_that_at_once() -> None:
    """He sends nothing more."""
    it = opened(Stored())
    whole = request(b"!", path="/", headers="Expect: 100-continue\r\n")
    assert statuses(it.feed(whole.removesuffix(b"!"))) == [403]
    assert it.over


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(b"x", path=PATH, method="PUT"), 405),
        (request(b"x", path="/else"), 403),
        (request(b"x", path=PATH + "/"), 403),
        (b"POST /door HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST /door HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (request(b"x", path=PATH, headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"), 400),
        (b"\x16\x03\x01\x02\x00", 400),
    ],
)
def test_what_is_refused_is_answered_once_and_nothing_more_is_heard(raw: bytes, status: int) -> None:
    """Also where a sound delivery follows: its sender gets no answer on this connection, and sends it again."""
    stored = Stored()
    it = opened(stored)
    answers = it.feed(raw + request(b"next", path=PATH))
    assert it.over
    assert statuses(answers) == [status]
    assert b"Connection: close" in answers
    assert it.feed(request(b"next", path=PATH)) == b""
    assert stored.bodies == []


def test_a_query_does_not_hide_the_path() -> None:
    """The path is what is judged."""
    stored = Stored()
    assert statuses(opened(stored).feed(request(b"x", path=PATH + "?a=b"))) == [200]


def test_an_endless_head_is_refused_however_slowly_it_comes() -> None:
    """The parser would keep all of it."""
    it = opened(Stored())
    assert it.feed(b"POST /door HTTP/1.1\r\n") == b""
    for _ in range(MAX_HEAD_BYTES // 10 + 1):
        if answers := it.feed(b"X: 12345\r\n"):
            break
    assert statuses(answers) == [431]


def test_an_endless_trailer_is_refused() -> None:
    """The parser would keep all of it too; it was not counted, for it comes behind the head."""
    stored = Stored()
    it = opened(stored)
    assert it.feed(CHUNKED.removesuffix(b"\r\n") + b"X: ") == b""
    answers = b""
    for _ in range(MAX_HEAD_BYTES // 1000 + 1):
        answers += it.feed(b"x" * 1000)
    assert statuses(answers) == [431]
    assert stored.bodies == []


@pytest.mark.parametrize("size", [3, 100, 4096])
def test_chunks_may_be_small(size: int) -> None:
    """What stands between them is allowed to grow with the body."""
    stored = Stored()
    it = opened(stored)
    raw, chunk = CHUNKED.split(b"3\r\n")[0], b"%x\r\n%b\r\n" % (size, b"x" * size)
    whole = raw + chunk * (300_000 // size // 10) + b"0\r\n\r\n"
    answers = b"".join(it.feed(whole[at : at + 1000]) for at in range(0, len(whole), 1000))
    assert statuses(answers) == [200]


def test_heads_are_counted_one_by_one() -> None:
    """A connection that is kept for long has had many."""
    stored = Stored()
    it = opened(stored)
    for _ in range(MAX_HEAD_BYTES // 50):
        assert it.feed(request(b"!", path=PATH).removesuffix(b"!")) == b""
        assert statuses(it.feed(b"!")) == [200]


def test_a_head_that_begins_behind_many_requests_is_not_taken_for_a_long_one() -> None:
    """They were counted with it where they came in one piece."""
    stored = Stored()
    it = opened(stored)
    many, half = MAX_HEAD_BYTES // 10, request(b"x", path=PATH)[:20]
    assert statuses(it.feed(request(b"x", path=PATH) * many + half)) == [200] * many
    assert not it.over


def test_a_full_journal_is_503_with_its_reason_and_the_connection_stays() -> None:
    """The platform delivers it again."""
    stored = Stored(fails=JournalFull("the spool is full"))
    it = opened(stored)
    answers = it.feed(request(b"x", path=PATH))
    assert statuses(answers) == [503]
    assert b"the spool is full" in answers
    stored.fails = None
    assert statuses(it.feed(request(b"x", path=PATH))) == [200]
    assert stored.bodies == [b"x"]


def test_a_fault_of_our_own_is_not_answered() -> None:
    """Neither as stored nor as the sender's: it is not stored, and somebody must hear of it."""
    with pytest.raises(HttpParserCallbackError) as raised:
        opened(Stored(fails=ZeroDivisionError("a defect"))).feed(request(b"x", path=PATH))
    assert isinstance(raised.value.__context__, ZeroDivisionError)


@pytest.mark.parametrize("asked", ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
def test_a_connection_ends_where_its_peer_wants_it_to(asked: str) -> None:
    """HTTP/1.0 does so without saying."""
    stored = Stored()
    it = opened(stored)
    answers = it.feed(f"POST /door {asked}Content-Length: 1\r\n\r\nx".encode())
    assert statuses(answers) == [200]
    assert b"Connection: close" in answers
    assert it.over


def test_where_the_first_is_the_last_the_peer_is_told() -> None:
    """The next delivery is somebody else's."""
    stored = Stored()
    it = opened(stored, once=True)
    answers = it.feed(request(b"one", path=PATH) + request(b"two", path=PATH))
    assert statuses(answers) == [200]
    assert b"Connection: close" in answers
    assert stored.bodies == [b"one"]
    assert it.over


def test_all_connections_share_what_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that finds no room is refused; whatever becomes of a body gives its room back."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 60)
    stored, room = Stored(), BodyBudget(100)
    one, two, three = (opened(stored, room=room) for _ in range(3))
    body = request(b"x" * 60, path=PATH)
    assert one.feed(body[:-1]) == b""
    assert statuses(two.feed(body[:-1])) == [413]
    assert statuses(one.feed(body[-1:])) == [200]
    assert three.feed(body[:-1]) == b""
    assert statuses(three.give_up()) == [408]
    assert statuses(opened(stored, room=room).feed(body)) == [200]
    assert room.take(100)
    assert not room.take(1)


def test_a_body_without_a_length_is_refused_as_soon_as_it_proves_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of it is let go."""
    monkeypatch.setattr(http_protocol, "MAX_BODY_BYTES", 4)
    stored, room = Stored(), BodyBudget(100)
    assert statuses(opened(stored, room=room).feed(CHUNKED)) == [413]
    assert room.take(100)


def test_who_is_given_up_between_two_requests_is_told_nothing() -> None:
    """There is nothing to answer."""
    it = opened(Stored())
    it.feed(request(b"x", path=PATH))
    assert it.give_up() == b""
    assert it.over
