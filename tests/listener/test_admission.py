"""The admission rule: a newcomer is always admitted, and every connection has a time limit."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from logferry.listener.admission import IDLE_SECONDS, MAX_CONNECTIONS, READ_SECONDS, Admission


def test_admission_closes_the_oldest_connection_for_a_newcomer() -> None:
    """Connections of another process that hold all places must not shut the platform out."""
    admission = Admission[int]()
    assert [admission.admit(number, 0.0) for number in range(MAX_CONNECTIONS)] == [None] * MAX_CONNECTIONS
    assert admission.admit(1000, 1.0) == 0
    assert admission.admit(1001, 1.0) == 1
    assert admission.connections == (*range(2, MAX_CONNECTIONS), 1000, 1001)


def test_admission_has_room_after_a_release() -> None:
    """A closed connection frees its place, and a release of an unknown connection does nothing."""
    admission = Admission[int]()
    for number in range(MAX_CONNECTIONS):
        admission.admit(number, 0.0)
    admission.release(5)
    admission.release(5)
    assert admission.admit(1000, 1.0) is None


def test_admission_closes_a_connection_without_a_first_byte_after_the_read_limit() -> None:
    """The platform sends its request at once."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    assert admission.expired(100.0 + READ_SECONDS - 0.001) == []
    assert admission.expired(100.0 + READ_SECONDS) == [1]


def test_admission_does_not_extend_the_limit_of_a_request_that_arrives_byte_by_byte() -> None:
    """The read limit counts from the first byte of the request."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    assert admission.on_data(1, 102.0, responded=False, in_request=True) == 102.0 + READ_SECONDS
    for seconds in (103.0, 104.0, 106.9):
        assert admission.on_data(1, seconds, responded=False, in_request=True) == 102.0 + READ_SECONDS


def test_admission_limits_the_time_between_two_requests() -> None:
    """After a response the idle limit applies, with the next request the read limit."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    assert admission.on_data(1, 101.0, responded=True, in_request=False) == 101.0 + IDLE_SECONDS
    assert admission.on_data(1, 110.0, responded=False, in_request=True) == 110.0 + READ_SECONDS


def test_admission_gives_a_pipelined_request_its_own_limit() -> None:
    """Data that complete one request and begin the next start the limit of the next."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    admission.on_data(1, 101.0, responded=False, in_request=True)
    assert admission.on_data(1, 104.0, responded=True, in_request=True) == 104.0 + READ_SECONDS


def test_admission_does_not_extend_the_limit_for_data_outside_a_request() -> None:
    """Empty lines before a request are no sign of a request."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    assert admission.on_data(1, 104.0, responded=False, in_request=False) == 100.0 + READ_SECONDS


def test_admission_limits_the_time_to_read_the_last_response() -> None:
    """A client that does not read must not hold a place."""
    admission = Admission[int]()
    admission.admit(1, 100.0)
    assert admission.on_last_response(1, 120.0) == 120.0 + READ_SECONDS
    assert admission.next_deadline() == 120.0 + READ_SECONDS


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1000)), max_size=200))
def test_admission_names_the_earliest_limit_and_holds_a_bounded_number(events: list[tuple[int, float]]) -> None:
    """The timer of the server is set for the earliest limit, which expires exactly the connections that are due."""
    admission = Admission[int]()
    opened: dict[int, float] = {}
    for connection, now in events:
        if connection in opened:
            admission.release(connection)
            del opened[connection]
            continue
        if (closed := admission.admit(connection, now)) is not None:
            del opened[closed]
        opened[connection] = now + READ_SECONDS
        assert len(admission.connections) <= MAX_CONNECTIONS
    assert set(admission.connections) == set(opened)
    assert admission.next_deadline() == min(opened.values(), default=None)
    assert set(admission.expired(500.0)) == {one for one, deadline in opened.items() if deadline <= 500.0}
