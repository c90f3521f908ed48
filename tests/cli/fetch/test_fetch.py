"""Fetch of objects from the real S3 server with 20 ms of latency: each once, cached, and named if damaged."""

from __future__ import annotations

import asyncio
import gzip
import os
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.fetch import request_usage
from logferry.cli.fetch.cache import Cache
from logferry.cli.fetch.download import verify_gzip
from logferry.cli.fetch.fetch import Dialogue, Fetched, fetch
from logferry.cli.fetch.request_usage import ExpensiveReadError
from logferry.cli.fetch.selection import Selection
from logferry.cli.fetch.source import ListedObject
from logferry.cli.stored_objects import DestinationError
from logferry.cli.verify.window import Window
from logferry.records.model import StoredObject
from support.fault_proxy import FaultProxy
from support.s3_faults import Fault
from support.stored_logs import START, make_object, make_objects, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import StoredBucket


async def fetched(url: str, selection: Selection | None = None, dialogue: Dialogue | None = None) -> Fetched:
    """Fetch in a thread, because the proxy runs in this event loop."""
    return await asyncio.to_thread(fetch, url, selection, dialogue=dialogue)


def keys_of(found: Fetched) -> list[str]:
    """Return the keys of the fetched objects relative to the destination, in order."""
    return [each.raw.listed.name for each in found.objects]


def most_concurrent(stored: StoredBucket) -> int:
    """Return the largest number of requests between arrival and response at one time."""
    running = most = 0
    for stage in stored.proxy.stages:
        running += {"arrived": 1, "responded": -1}.get(stage.stage, 0)
        most = max(most, running)
    return most


def foreign(key: str, body: bytes) -> StoredObject:
    """Return an object of another program."""
    return StoredObject(key, body, {}, "")


async def test_each_object_is_fetched_once_and_a_second_fetch_makes_no_get(stored: StoredBucket) -> None:
    """500 objects need 500 GETs and few LISTs. Objects never change, so the cache answers the second time."""
    objects = make_objects(500)
    await stored.store(objects)
    first = await fetched(stored.url)
    assert Counter(stored.requests()) == Counter(f"logs/{each.key}" for each in objects)
    bodies = {each.raw.listed.name: each.path.read_bytes() for each in first.objects}
    assert bodies == {each.key: each.body for each in objects}
    assert (first.usage.gets, first.usage.cached) == (500, 0)
    assert 16 <= most_concurrent(stored) <= 64 + 1
    second = await fetched(stored.url)
    assert len(stored.requests()) == 500
    assert (second.usage.gets, second.usage.cached) == (0, 500)
    assert 1 <= second.usage.lists <= 4
    assert str(second.usage).endswith(" LISTs, 0 GETs, 0.000015 USD") is (second.usage.lists == 3)


async def test_a_replaced_object_is_fetched_again(stored: StoredBucket) -> None:
    """The cache identifies an object by its ETag too, also if the new body has the same size."""
    (before,) = make_objects(1)
    await stored.store([before])
    await fetched(stored.url)
    changed = bytes([*before.body[:4], before.body[4] ^ 1, *before.body[5:]])  # the time in the gzip header
    await stored.store([before._replace(body=changed)])
    found = await fetched(stored.url)
    assert [each.path.read_bytes() for each in found.objects] == [changed]


async def test_damaged_and_foreign_objects_are_named_and_hide_no_other(stored: StoredBucket) -> None:
    """Each unreadable object has its reason, whatever key another program has chosen."""
    good = make_objects(3)
    cut = make_object([], segment=9)
    flipped = bytearray(good[0].body)
    flipped[-6] ^= 1
    damaged = [
        cut._replace(key="function=orders-api/dt=2026-11-21/hour=02/cut.ndjson.gz", body=good[0].body[:-20]),
        cut._replace(key="function=orders-api/dt=2026-11-21/hour=02/crc.ndjson.gz", body=bytes(flipped)),
        cut._replace(key="function=orders-api/dt=2026-11-21/hour=02/empty.ndjson.gz", body=b""),
        cut._replace(key="function=orders-api/dt=2026-11-21/hour=02/plain.ndjson.gz", body=b'{"a":1}\n'),
        cut._replace(key="function=orders-api/dt=2026-11-21/hour=02/more.ndjson.gz", body=good[0].body + b"more"),
    ]
    others = [foreign("report 100%#?.csv", b"a,b\n"), foreign("_SUCCESS", b""), foreign("function=x/_tmp/1.gz", b"x")]
    await stored.store([*good, *damaged, *others])
    found = await fetched(stored.url)
    assert keys_of(found) == [each.key for each in good]
    reasons = {key.rpartition("/")[2]: reason for key, reason in found.unreadable}
    assert reasons.keys() == {each.key.rpartition("/")[2] for each in damaged}
    assert reasons["cut.ndjson.gz"] == "truncated gzip data"
    assert reasons["empty.ndjson.gz"] == "the object is empty"
    assert all("damaged gzip data" in reasons[f"{name}.ndjson.gz"] for name in ("crc", "plain", "more"))
    assert found.foreign == ["report 100%#?.csv"]


async def test_a_selection_lists_only_its_functions_and_days(stored: StoredBucket) -> None:
    """A function and a window of two hours need one LIST; other functions and days are not read."""
    now = datetime.now(UTC)
    start = now - timedelta(minutes=30)
    wanted = make_objects(3, start=start)
    others = [*make_objects(3, function="billing", start=start), *make_objects(3, start=now - timedelta(days=3))]
    await stored.store([*wanted, *others])
    window = Window(since=now - timedelta(hours=2))
    found = await fetched(stored.url, Selection("orders-api", window))
    # An object that was stored in the window can have records in it, but the list starts in its first hour.
    assert keys_of(found) == sorted(each.key for each in wanted)
    assert Counter(stored.requests()) == Counter(f"logs/{each.key}" for each in wanted)
    assert found.usage.lists <= 5
    several = await fetched(stored.url, Selection("*i*", window))
    assert len(several.objects) == 6
    none = await fetched(stored.url, Selection("orders-ap?", Window(until=now - timedelta(days=1))))
    assert len(none.objects) == 3


async def test_objects_of_another_key_template_are_listed_completely(stored: StoredBucket) -> None:
    """Without function and date in the key, the content decides."""
    objects = [make_object([], segment=n, key="{environment}/{segment}.json") for n in range(1, 4)]
    await stored.store(objects)
    found = await fetched(stored.url, Selection("orders-api", Window(since=START)))
    assert keys_of(found) == [each.key for each in objects]
    assert [each.raw.place for each in found.objects] == [None] * 3


async def test_an_expensive_fetch_asks_first(stored: StoredBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer, the error names the price and --yes, and no GET is sent."""
    monkeypatch.setattr(request_usage, "MAX_UNCONFIRMED_GETS", 4)
    await stored.store(make_objects(5))
    with pytest.raises(ExpensiveReadError, match=r"5 GETs cost 0\.000002 USD; add --yes"):
        await fetched(stored.url)
    questions: list[str] = []

    def refuse(question: str) -> bool:
        questions.append(question)
        return False

    with pytest.raises(ExpensiveReadError, match="nothing was read"):
        await fetched(stored.url, dialogue=Dialogue(confirm=refuse))
    assert questions == ["5 objects are not in the cache: 5 GETs cost 0.000002 USD. Read them?"]
    assert stored.requests() == []
    found = await fetched(stored.url, dialogue=Dialogue(confirm=lambda _: True))
    assert len(found.objects) == 5
    assert len((await fetched(stored.url)).objects) == 5  # all of them are in the cache


@pytest.mark.parametrize(
    ("fault", "function", "parts"),
    [
        (Fault.ACCESS_DENIED, "orders-api", ("AccessDenied", "s3:ListBucket")),
        (Fault.EXPIRED_TOKEN, "*", ("ExpiredToken", "aws sso login")),
        (Fault.NO_SUCH_BUCKET, "orders-*", ("NoSuchBucket", "check the name of the bucket")),
    ],
)
async def test_an_error_of_the_destination_is_one_sentence_with_a_remedy(
    stored: StoredBucket, fault: Fault, function: str, parts: tuple[str, ...]
) -> None:
    """The message names the destination, S3's code and the remedy."""
    await stored.proxy.set_fault(fault)
    with pytest.raises(DestinationError) as caught:
        await fetched(stored.url, Selection(function, Window(since=datetime.now(UTC))))
    assert "\n" not in str(caught.value)
    for part in (stored.url, *parts):
        assert part in str(caught.value)


async def test_a_bucket_in_another_region_is_read_there(stored: StoredBucket) -> None:
    """S3 names the region in its redirect. The lists and the GETs are then signed for it."""
    await stored.store(make_objects(3))
    await stored.proxy.set_fault(Fault.OTHER_REGION)
    found = await fetched(stored.url)
    assert (len(found.objects), found.unreadable) == (3, [])


async def test_a_server_with_a_private_authority_is_trusted_by_both_clients(
    stored: StoredBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_CA_BUNDLE has the authority. Without it, the certificate is refused."""
    await stored.store(make_objects(2))
    async with FaultProxy(stored.s3.endpoint_url, certificates=tmp_path / "certificates") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        with pytest.raises(DestinationError, match="set AWS_CA_BUNDLE to the file of the certificate authority"):
            await fetched(stored.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(proxy.trusted))
        found = await fetched(stored.url)
    assert (len(found.objects), found.unreadable) == (2, [])


async def test_denied_gets_are_an_error_of_the_destination(stored: StoredBucket) -> None:
    """A reader that may list and not read gets one message, and not one for each object."""
    await stored.store(make_objects(3))

    def deny(stage: object) -> None:
        if getattr(stage, "stage", "") == "responded":
            stored.proxy._fault = Fault.ACCESS_DENIED

    stored.proxy.at_stage = deny
    with pytest.raises(DestinationError, match=r"AccessDenied; reading requires .* s3:GetObject"):
        await fetched(f"{stored.url}/function=orders-api/dt=2026-11-21/hour=02")


async def test_missing_credentials_are_one_sentence(stored: StoredBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the ways to configure them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(DestinationError, match="no AWS credentials were found; configure them with `aws configure`"):
        await fetched(stored.url)


def test_files_are_read_in_place(tmp_path: Path, cache: Path) -> None:
    """A local destination needs no copy, no request and no question."""
    store_in(tmp_path / "objects", make_objects(3))
    found = fetch(f"file://{tmp_path}/objects")
    assert [each.path for each in found.objects] == sorted((tmp_path / "objects").rglob("*.gz"))
    assert (found.usage.lists, found.usage.gets) == (0, 0)
    assert not cache.exists()


def test_an_interrupted_write_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The complete file is renamed. An exception, such as Ctrl-C, removes the partial one."""
    (made,) = make_objects(1)
    store_in(tmp_path / "objects", [made])
    (listed,) = (each.raw.listed for each in fetch(f"file://{tmp_path}/objects").objects)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path / "cache", "b").add(listed, made.body)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a//b/./c", "x" * 900, "a\x00b\n", "[a]*?.ndjson.gz", "é/ü.ndjson.gz"]
)
def test_every_key_has_a_path_inside_the_cache(tmp_path: Path, key: str) -> None:
    """A key is the choice of another program. Its path is valid, and the suffix stays."""
    cache = Cache(tmp_path / "cache", "b")
    listed = ListedObject(key, key, 3, "etag", START)
    path = cache.add(listed, b"abc")
    assert path.resolve().is_relative_to(tmp_path / "cache" / "b")
    assert cache.find(listed) == path
    assert path.name.endswith(".ndjson.gz") is key.endswith(".ndjson.gz")
    assert cache.find(ListedObject(key, key, 3, "other", START)) is None


def test_the_cache_removes_the_files_that_were_used_least_recently(tmp_path: Path) -> None:
    """A file that was found again is recent."""
    cache = Cache(tmp_path / "cache", "b", max_bytes=250)
    listed = [ListedObject(f"k{n}", f"k{n}", 100, "e", START) for n in range(3)]
    for age, each in enumerate(listed):
        os.utime(cache.add(each, b"x" * 100), (1_000_000 + age, 1_000_000 + age))
    assert cache.find(listed[0])
    assert cache.trim() == 1
    assert [cache.find(each) is not None for each in listed] == [True, False, True]


def test_a_gzip_object_of_zeros_is_verified_in_pieces(tmp_path: Path) -> None:
    """A small object can have gigabytes of zeros, and the memory must not grow with them."""
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    tracemalloc.start()
    try:
        verify_gzip(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20
    assert fetch(f"file://{tmp_path}").foreign == ["a.ndjson.gz"]
