"""Lists and new objects of `tail`, on a simulated S3: late objects, turns of hour and day, nothing twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.fetch.source import ListedObject
from logferry.cli.tail import silence
from logferry.cli.tail.follow import LOOK_BACK, MAX_WAIT_SECONDS, MIN_WAIT_SECONDS, WIDE_LOOK_BACK, Follower

if TYPE_CHECKING:
    from logferry.cli.fetch.selection import ListRange

START = datetime(2026, 11, 21, 2, 10, tzinfo=UTC)


def stored(first: datetime, stored_at: datetime, number: int = 1, function: str = "orders") -> ListedObject:
    """Return the list entry of an object with its first record at `first`."""
    key = f"function={function}/dt={first:%Y-%m-%d}/hour={first:%H}/{first:%H%M%S}Z-{number:016x}-00000001.ndjson.gz"
    return ListedObject(key, key, 10, "etag", stored_at)


def matches(listed: ListRange, entry: ListedObject) -> bool:
    """Return whether S3 would return an entry for a list."""
    return entry.key.startswith(listed.prefix) and entry.key > listed.start_after


def follower_since(since: datetime) -> Follower:
    """Return a follower that shows objects from its first poll on."""
    return Follower(since=since, started=since)


def poll(follower: Follower, now: datetime, bucket: list[ListedObject]) -> list[str]:
    """Return the keys that a poll finds in the objects that are stored until now."""
    ranges = list(follower.ranges("orders", now, wide=follower.is_wide(now)))
    assert 1 <= len(ranges) <= 2
    found = [each for each in bucket if each.stored_at <= now and any(matches(one, each) for one in ranges)]
    return [each.listed.key for each in follower.take(found, now)]


@pytest.mark.parametrize(
    "start", [START, START.replace(hour=2, minute=59, second=20), START.replace(hour=23, minute=59)]
)
def test_each_object_is_new_once_also_at_the_turn_of_hour_and_day(start: datetime) -> None:
    """An object can be stored after the end of its hour. A poll has two lists at most."""
    follower = follower_since(start)
    offsets = range(0, 240, 7)
    bucket = [stored(start + timedelta(seconds=n), start + timedelta(seconds=n + 40), n) for n in offsets]
    found: list[str] = []
    for second in range(320):
        found += poll(follower, start + timedelta(seconds=second), bucket)
    assert sorted(found) == sorted(each.key for each in bucket)


def test_an_object_that_waited_for_long_is_found_once_and_marked() -> None:
    """Its key is before the usual list. The list with the longer look-back finds it."""
    follower = follower_since(START)
    late = stored(START - timedelta(minutes=50), START + timedelta(seconds=5))
    usual = stored(START, START + timedelta(seconds=5), 2)
    times: dict[str, int] = {}
    marks = {}
    for second in range(0, 120, 2):
        now = START + timedelta(seconds=second)
        ranges = list(follower.ranges("orders", now, wide=follower.is_wide(now)))
        entries = [each for each in (late, usual) if each.stored_at <= now and any(matches(r, each) for r in ranges)]
        for each in follower.take(entries, now):
            times[each.listed.key] = times.get(each.listed.key, 0) + 1
            marks[each.listed.key] = each.late
    assert times == {late.key: 1, usual.key: 1}
    assert marks == {late.key: timedelta(minutes=50, seconds=5), usual.key: None}


def test_random_arrivals_are_each_found_once() -> None:
    """Objects wait up to the longer look-back, and each is found within that time."""
    seed = random.randrange(1 << 30)  # noqa: S311
    print("seed", seed)
    chance = random.Random(seed)  # noqa: S311 - a reproducible test
    start = START.replace(hour=23, minute=30)
    follower = follower_since(start)
    bucket = []
    for number in range(300):
        first = start + timedelta(seconds=chance.randrange(3600))
        bucket.append(stored(first, first + timedelta(seconds=chance.choice([1, 30, 60, 110, 600, 2400])), number))
    found: list[str] = []
    now = start
    while now < start + timedelta(hours=2):
        found += poll(follower, now, bucket)
        now += timedelta(seconds=chance.uniform(1, 5))
    assert sorted(found) == sorted(each.key for each in bucket)


def test_objects_from_before_the_start_are_not_shown() -> None:
    """`--since` shows them."""
    before = stored(START - timedelta(minutes=1), START - timedelta(seconds=30))
    assert poll(Follower(since=None, started=START - timedelta(minutes=2)), START, [before]) == []
    assert poll(follower_since(START), START, [before]) == []
    assert poll(follower_since(START - timedelta(minutes=5)), START, [before]) == [before.key]


def test_the_wait_grows_without_new_objects_and_is_short_after_one() -> None:
    """A quiet function costs fewer lists."""
    follower = follower_since(START)
    assert follower.wait_seconds == MIN_WAIT_SECONDS
    waits = []
    for second in range(12):
        poll(follower, START + timedelta(seconds=second), [])
        waits.append(follower.wait_seconds)
    assert waits == sorted(waits)
    assert waits[-1] == MAX_WAIT_SECONDS
    now = START + timedelta(seconds=20)
    poll(follower, now, [stored(now, now)])
    assert follower.wait_seconds == MIN_WAIT_SECONDS


def test_known_keys_of_past_hours_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail of a day keeps the keys of some hours only."""
    monkeypatch.setattr("logferry.cli.tail.follow.MAX_KEYS", 100)
    follower = follower_since(START)
    for minute in range(24 * 60):
        now = START + timedelta(minutes=minute)
        assert poll(follower, now, [stored(now, now, minute)])
    assert len(follower._seen) < 600
    assert WIDE_LOOK_BACK < timedelta(hours=1) > LOOK_BACK


def test_the_reason_of_silence_names_what_to_check() -> None:
    """Each text is one sentence with the reason and what it can depend on."""
    now = START
    assert silence.no_objects(now - timedelta(seconds=40), now).startswith("last object 40 s ago; LOGFERRY_FLUSH")
    assert silence.no_objects(None, now).startswith("no object was stored in the last hour; ")
    assert "'web-*'; the destination has a, b" in silence.no_function("web-*", ["a", "b"])
    assert "check the prefix" in silence.no_function("*", [])
