"""Malformed requests, thousands of connections, slow and huge requests: batches of the platform are still accepted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from support.hostile_clients import MEMORY_BYTES, RESPONSE_SECONDS, assert_intact, running_platform, timed
from support.lambda_stub import BareLambda
from support.large_batches import MIB, open_descriptors, resident_bytes
from support.platform_events import batch, function
from support.process_kill import seed_from_environment, seeded_random
from support.reconciliation import ledger, lines_of

if TYPE_CHECKING:
    from support.s3_environment import S3Environment


MALFORMED = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 8,
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\nHost: x\r\n\r\nsomething",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length of exabytes": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999999\r\n\r\n",
    "a chunk that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a head without an end": b"POST / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 200_000,
    "ten thousand headers": b"POST / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n",
    "a body declared as gzip": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "nothing": b"",
    "null bytes": b"\0" * 5000,
}


@pytest.mark.parametrize("early", [False, True], ids=["listener", "bootstrap-server"])
async def test_malformed_request_is_refused_and_batches_are_accepted(s3_env: S3Environment, early: bool) -> None:
    """Requests that are no HTTP, or not the expected HTTP, are refused by the listener and by the bootstrap server."""
    async with BareLambda(s3_env.settings(LOGFERRY_FLUSH="time")) as platform:
        extension = await platform.start()
        if not early:
            await platform.invoke(["warm"])
        shipper = extension.shipper
        for name, content in MALFORMED.items():
            await _send(platform.port, content.replace(b"POST / ", b"POST %s " % platform.path.encode()))
            await platform.deliver(batch(function(f"after {name}")))
        await platform.shutdown()
        assert sum("the shipper ended" in line for line in extension.output) == 0, extension.output
        assert shipper is not None
        account = ledger(platform, objects := await s3_env.arrived(), s3_env.spool)
    assert not account.missing
    assert [line for line in lines_of(objects) if line.startswith("after")] == [f"after {name}" for name in MALFORMED]
    assert not [line for line in extension.output if "Traceback" in line or "Error handling request" in line], (
        extension.output
    )


async def test_mutated_requests_never_end_the_shipper(s3_env: S3Environment) -> None:
    """Seeded mutations of a valid request do not end the shipper."""
    rng = seeded_random(seed_from_environment())
    async with running_platform(s3_env) as platform:
        valid = b"POST %s HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Length: 64\r\n\r\n" % platform.path.encode()
        valid += batch(function("x" * 20))[:64]
        shipper = platform.extension.shipper
        for _ in range(200):
            mutant = bytearray(valid)
            for _ in range(rng.randrange(1, 6)):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
            await _send(platform.port, bytes(mutant[: rng.randrange(len(mutant) + 1)]), linger_seconds=0.005)
        await assert_intact(platform, s3_env, shipper=shipper)


async def test_thousands_of_idle_connections_do_not_block_the_platform(s3_env: S3Environment) -> None:
    """With 1,500 idle connections the platform's are accepted, and the number of descriptors stays bounded."""
    async with running_platform(s3_env) as platform:
        shipper = platform.extension.shipper
        held: list[asyncio.StreamWriter] = []
        slowest, most = 0.0, 0
        for number in range(1500):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
                held.append(writer)
            if number % 100 == 99:
                slowest = max(slowest, await timed(platform, f"line {number}"))
                most = max(most, open_descriptors(shipper))
        for writer in held:
            writer.transport.abort()
        lines = await assert_intact(platform, s3_env, shipper=shipper)
    assert slowest < RESPONSE_SECONDS
    assert 0 < most < 256, "Lambda permits 1,024 descriptors, of which the journal and S3 need some"
    assert len(lines) == 17


async def test_slow_requests_do_not_delay_batches(s3_env: S3Environment) -> None:
    """A hundred requests that arrive byte by byte are closed in time, and batches are accepted meanwhile."""
    async with running_platform(s3_env) as platform:
        shipper = platform.extension.shipper
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
        closed_in_time = sum(task.done() for task in dripping)
        stop.set()
        await asyncio.gather(*dripping)
        await assert_intact(platform, s3_env, shipper=shipper)
    assert slowest < RESPONSE_SECONDS
    assert closed_in_time == 100, "a request that is incomplete after some seconds never comes from the platform"


async def test_huge_body_is_refused_within_the_memory_bound(s3_env: S3Environment) -> None:
    """A body of 100 MiB, announced or in chunks, is refused within the memory bound."""
    async with running_platform(s3_env) as platform:
        shipper = platform.extension.shipper
        most = 0

        async def pour(head: bytes, piece: bytes) -> None:
            nonlocal most
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
                writer.write(head)
                for _ in range(100):
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 5)
                    most = max(most, resident_bytes(shipper))
                writer.transport.abort()

        head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % platform.path.encode()
        mib = b"x" * MIB
        pours = [pour(head + b"Content-Length: 104857600\r\n\r\n", mib) for _ in range(4)]
        pours += [pour(head + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + mib + b"\r\n") for _ in range(8)]
        await asyncio.gather(*pours, return_exceptions=True)
        assert await timed(platform, "line") < RESPONSE_SECONDS
        await assert_intact(platform, s3_env, shipper=shipper)
    assert 0 < most < MEMORY_BYTES


async def _send(port: int, content: bytes, *, linger_seconds: float = 0.0) -> bytes:
    """Send bytes over a new connection; return the response that arrives within a short time."""
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
