"""Junk, thousands of connections, slow and huge requests: the platform's deliveries keep being answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from support.hostile_clients import ANSWER_SECONDS, MEMORY_BYTES, ends_complete, platform_at_work, timed
from support.lambda_stub import BareLambda
from support.large_batches import MIB, descriptors, resident
from support.platform_events import batch, function
from support.process_kill import numbers, seed_of_this_run
from support.reconciliation import ledger, lines_of

if TYPE_CHECKING:
    from support.s3_environment import Scene


JUNK = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 8,
    "a method nobody knows": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\nHost: x\r\n\r\nsomething",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length of exabytes": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999999\r\n\r\n",
    "a chunk that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a head without an end": b"POST / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 200_000,
    "ten thousand headers": b"POST / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n",
    "a body said to be gzip": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "nothing": b"",
    "null bytes": b"\0" * 5000,
}


@pytest.mark.parametrize("early", [False, True], ids=["listener", "doorman"])
async def test_junk_is_refused_and_deliveries_are_answered_in_between(scene: Scene, early: bool) -> None:
    """Whatever is no HTTP, or HTTP of the wrong kind: to the listener, and to the doorman before it."""
    async with BareLambda(scene.settings(LOGFERRY_FLUSH="time")) as platform:
        life = await platform.start()
        if not early:
            await platform.invoke(["warm"])
        shipper = life.shipper
        for name, content in JUNK.items():
            await _send(platform.port, content.replace(b"POST / ", b"POST %s " % platform.path.encode()))
            await platform.deliver(batch(function(f"after {name}")))
        await platform.shutdown()
        assert sum("died" in line for line in life.output) == 0, life.output
        assert shipper is not None
        stock = ledger(platform, objects := await scene.arrived(), scene.spool)
    assert not stock.missing
    assert [line for line in lines_of(objects) if line.startswith("after")] == [f"after {name}" for name in JUNK]
    assert not [line for line in life.output if "Traceback" in line or "Error handling request" in line], life.output


async def test_random_bytes_never_end_the_shipper(scene: Scene) -> None:
    """Mutations of a sound request, seeded."""
    rng = numbers(seed_of_this_run())
    async with platform_at_work(scene) as platform:
        sound = b"POST %s HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Length: 64\r\n\r\n" % platform.path.encode()
        sound += batch(function("x" * 20))[:64]
        shipper = platform.life.shipper
        for _ in range(200):
            mutant = bytearray(sound)
            for _ in range(rng.randrange(1, 6)):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
            await _send(platform.port, bytes(mutant[: rng.randrange(len(mutant) + 1)]), linger_seconds=0.005)
        await ends_complete(platform, scene, shipper=shipper)


async def test_thousands_of_connections_do_not_lock_the_platform_out(scene: Scene) -> None:
    """1,500 connections that say nothing: the platform's are accepted and answered, and descriptors stay bounded."""
    async with platform_at_work(scene) as platform:
        shipper = platform.life.shipper
        held: list[asyncio.StreamWriter] = []
        slowest, most = 0.0, 0
        for number in range(1500):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
                held.append(writer)
            if number % 100 == 99:
                slowest = max(slowest, await timed(platform, f"line {number}"))
                most = max(most, descriptors(shipper))
        for writer in held:
            writer.transport.abort()
        lines = await ends_complete(platform, scene, shipper=shipper)
    assert slowest < ANSWER_SECONDS
    assert most < 256, "Lambda gives a process 1,024 descriptors, and the journal and S3 need some"
    assert len(lines) == 17


async def test_slow_heads_and_slow_bodies_do_not_stall_deliveries(scene: Scene) -> None:
    """A hundred requests that come a byte at a time: the platform is answered, and they are cut off in time."""
    async with platform_at_work(scene) as platform:
        shipper = platform.life.shipper
        stop = asyncio.Event()

        async def drip(number: int) -> float:
            head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % platform.path.encode()
            rest = b"X-Slow: " + b"a" * 4000 if number % 2 else b"Content-Length: 4000\r\n\r\n" + b"[" * 3999
            began = time.monotonic()
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
                writer.write(head)
                closed = asyncio.create_task(reader.read())
                for byte in rest:
                    writer.write(bytes((byte,)))
                    if closed.done() or stop.is_set():
                        break
                    await asyncio.sleep(0.05)
                closed.cancel()
                writer.transport.abort()
            return time.monotonic() - began

        dripping = [asyncio.create_task(drip(number)) for number in range(100)]
        slowest = 0.0
        until = time.monotonic() + 9
        while time.monotonic() < until:
            slowest = max(slowest, await timed(platform, "line"))
            await asyncio.sleep(0.1)
        cut_off = sum(task.done() for task in dripping)
        stop.set()
        await asyncio.gather(*dripping)
        await ends_complete(platform, scene, shipper=shipper)
    assert slowest < ANSWER_SECONDS
    assert cut_off == 100, "a request that is not whole after some seconds is the platform's never"


async def test_huge_bodies_are_refused_before_they_are_in_memory(scene: Scene) -> None:
    """A hundred MiB announced, or in chunks without an announcement: 413 or a closed connection, memory bounded."""
    async with platform_at_work(scene) as platform:
        shipper = platform.life.shipper
        most = 0

        async def pour(head: bytes, piece: bytes) -> None:
            nonlocal most
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
                writer.write(head)
                for _ in range(100):
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 5)
                    most = max(most, resident(shipper))
                writer.transport.abort()

        head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % platform.path.encode()
        mib = b"x" * MIB
        pours = [pour(head + b"Content-Length: 104857600\r\n\r\n", mib) for _ in range(4)]
        pours += [pour(head + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + mib + b"\r\n") for _ in range(8)]
        await asyncio.gather(*pours, return_exceptions=True)
        assert await timed(platform, "line") < ANSWER_SECONDS
        await ends_complete(platform, scene, shipper=shipper)
    assert most < MEMORY_BYTES


async def _send(port: int, content: bytes, *, linger_seconds: float = 0.0) -> bytes:
    """Send bytes over a connection of their own; what came back within a moment."""
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(content)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
                answer = await asyncio.wait_for(reader.read(4096), linger_seconds or 0.05)
        finally:
            writer.transport.abort()
    return answer
