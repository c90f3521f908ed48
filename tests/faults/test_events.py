"""Events while processes are killed, the pipe is misused, the spool is full, or logferry idles."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.hostile_clients import RESPONSE_SECONDS
from support.lambda_stub import BareLambda
from support.patched_boot import boot_with
from support.platform_events import batch, function, invoke_event, report_of, runtime_done, start
from support.process_kill import SIGNALS, kill_and_wait, seed_from_environment, seeded_random
from support.reconciliation import assert_balanced, records_of_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.end_to_end import Arrived
    from support.s3_environment import S3Environment

READ_BYTES = 64 * 1024
"""Bytes of one read of the pipe: the most that a killed shipper may lose."""


class Hook:
    """A process of the function, as far as the pipe is concerned."""

    def __init__(self, spool: Path) -> None:
        self._fd = os.open(spool / "events", os.O_WRONLY | os.O_NONBLOCK)
        self.written: list[int] = []
        self.refused = 0

    def write(self, number: int, *, size: int = 200) -> None:
        """Write one event; a full pipe refuses it."""
        line = json.dumps({"event": "e", "n": number, "pid": 1, "padding": "x" * size}).encode() + b"\n"
        try:
            os.write(self._fd, line)
        except BlockingIOError:
            self.refused += 1
        else:
            self.written.append(number)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


@contextlib.asynccontextmanager
async def running(s3_env: S3Environment, **settings: str) -> Any:
    """Start an extension that accepts events; yield the platform and a hook."""
    settings = {"LOGFERRY_EVENTS": "true", "LOGFERRY_EVENTS_LIMIT": "100000", **settings}
    async with BareLambda(s3_env.settings(**settings)) as platform:
        await platform.start()
        hook = Hook(s3_env.spool)
        try:
            yield platform, hook
        finally:
            hook.close()


def numbers_of(objects: Sequence[Arrived]) -> Counter[int]:
    """Return the numbers of the stored events."""
    return Counter(each["record"]["n"] for each in records_of_type(objects, "logferry.event"))


@pytest.mark.parametrize("number", SIGNALS)
async def test_shipper_killed_at_any_moment_loses_at_most_one_read_of_events(
    s3_env: S3Environment, number: int
) -> None:
    """No event is stored twice, every kill loses at most the bytes of one read, and the numbers show the gap."""
    chance = seeded_random(seed_from_environment())
    kills = 0
    async with running(s3_env, LOGFERRY_FLUSH="invocation") as (platform, hook):
        for invocation in range(8):
            stop = asyncio.Event()

            async def write(first: int, stop: asyncio.Event) -> None:
                for offset in range(1500):
                    hook.write(first + offset)
                    if offset % 50 == 0:
                        await asyncio.sleep(0)
                stop.set()

            writing = asyncio.create_task(write(invocation * 10_000, stop))
            running_invocation = asyncio.create_task(platform.invoke([f"line {invocation}"]))
            if invocation % 2:
                await asyncio.sleep(chance.uniform(0.0, 0.03))
                kill_and_wait(platform.extension.shipper, number)
                kills += 1
            await writing
            await running_invocation
        await platform.shutdown()
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
    stored = numbers_of(objects)
    missing = [n for n in hook.written if n not in stored]
    print(f"{len(hook.written)} written, {hook.refused} refused, {len(missing)} missing after {kills} kills")
    assert not [n for n, count in stored.items() if count > 1]
    assert not set(stored) - set(hook.written)
    assert len(missing) * 240 <= kills * READ_BYTES


KILLED_AT = {
    "after a read": "logferry.instrumentation.event_pipe:EventPipe.read:after",
    "before a read is stored": "logferry.listener.intake:Intake.store:before",
    "after a read is stored": "logferry.listener.intake:Intake.store:after",
}


def _kill_at(point: str, marker: Path) -> str:
    """Return a patch that kills the shipper once at a point, when the pipe has had content."""
    place, when = point.rsplit(":", 1)
    module, name = place.split(":")
    owner, method = name.split(".")
    return f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        import importlib, importlib.util, os
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def patched(loaded):
            execute(loaded)
            original = getattr(loaded.{owner}, {method!r})
            def wrapped(self, *arguments):
                def kill(found):
                    if found and not os.path.exists({str(marker)!r}):
                        open({str(marker)!r}, "w").close()
                        os.kill(os.getpid(), 9)
                if {when!r} == "before":
                    kill(True)
                result = original(self, *arguments)
                if {when!r} == "after":
                    kill(result is not None or {method!r} == "store")
                return result
            setattr(loaded.{owner}, {method!r}, wrapped)
        spec.loader.exec_module = patched
        return spec
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("point", KILLED_AT)
async def test_shipper_killed_between_read_and_journal_loses_that_read_only(
    s3_env: S3Environment, tmp_path: Path, point: str
) -> None:
    """Before the journal has the read, it is lost; afterwards it is stored once. Everything behind it is stored."""
    marker = tmp_path / "killed"
    settings = s3_env.settings(LOGFERRY_EVENTS="true", LOGFERRY_FLUSH="invocation")
    async with BareLambda(settings, command=boot_with(_kill_at(KILLED_AT[point], marker))) as platform:
        await platform.start()
        hook = Hook(s3_env.spool)
        for n in range(10):
            hook.write(n)
        await platform.invoke(["first"])
        for n in range(10, 20):
            hook.write(n)
        await platform.invoke(["second"])
        await platform.shutdown()
        hook.close()
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
    assert marker.exists()
    stored = numbers_of(objects)
    assert set(stored.values()) == {1}
    lost = set(range(20)) - set(stored)
    if point == "after a read is stored":
        assert not lost
    else:
        assert lost == set(range(max(lost) + 1))
        assert len(lost) <= 20


async def test_freeze_of_the_whole_extension_keeps_events_in_the_pipe(s3_env: S3Environment) -> None:
    """Supervisor and shipper are stopped while the function writes; after the thaw everything is stored."""
    async with running(s3_env, LOGFERRY_FLUSH="size") as (platform, hook):
        await platform.invoke(["warm"])
        os.killpg(platform.extension.pid, signal.SIGSTOP)
        for n in range(500):
            hook.write(n)
        await asyncio.sleep(1.5)  # longer than the interval of the reads
        os.killpg(platform.extension.pid, signal.SIGCONT)
        await platform.invoke(["after the thaw"])
        await platform.shutdown()
        objects = await s3_env.arrived()
    assert numbers_of(objects) == Counter(range(500))


async def test_events_are_read_during_a_long_invocation_without_any_batch(s3_env: S3Environment) -> None:
    """The pipe is read once a second, so that it does not fill up in a function that logs nothing."""
    async with running(s3_env, LOGFERRY_FLUSH="invocation") as (platform, hook):
        await platform.invoke(["warm"])
        held = asyncio.create_task(platform.hand_out(invoke_event("long", seconds=30)))
        await platform.deliver(batch(start("long")))
        await asyncio.sleep(0.2)
        for n in range(20):
            hook.write(n)
        until = time.monotonic() + 20
        while not _journaled(s3_env.spool, b'"n": 19,'):
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        await platform.deliver(batch(runtime_done("long"), report_of("long")))
        await held
        await platform.shutdown()
        events = records_of_type(await s3_env.arrived(), "logferry.event")
    assert {(each["requestId"], each["requestIdSource"]) for each in events} == {("long", "inferred")}
    assert len(events) == 20


def _journaled(spool: Path, text: bytes) -> bool:
    """Return whether an open segment holds a text."""
    for path in spool.glob("*.open"):
        with contextlib.suppress(FileNotFoundError):
            if text in path.read_bytes():
                return True
    return False


async def test_events_between_the_halves_of_a_cut_record_are_stored_and_the_record_is_joined(
    s3_env: S3Environment,
) -> None:
    """The platform cuts a record that is larger than a batch. Events on both paths, and an INVOKE, come in between."""
    prefix = b'{"time":"2026-11-30T00:00:00.000Z","type":"function","record":'
    text = "x" * 700_000
    async with running(s3_env, LOGFERRY_FLUSH="invocation") as (platform, hook):
        await platform.invoke(["warm"])
        assert await platform.post(b"[" + prefix + b'"' + text.encode() + b"}]") == 200
        hook.write(1)
        held = asyncio.create_task(platform.hand_out(invoke_event("r1")))
        assert await platform.post(b'{"event":"e","n":2}\n{"event":"e","n":2}', path="/events") == 200
        assert await platform.post(b"[" + prefix + b'yz"}]') == 200
        await platform.deliver(batch(start("r1"), runtime_done("r1"), report_of("r1")))
        await held
        await platform.shutdown()
        objects = await s3_env.arrived()
    assert numbers_of(objects) == Counter({1: 1, 2: 2})
    lines = [each["record"] for each in records_of_type(objects, "function")]
    assert sorted(lines) == ["warm", text + "yz"]
    assert not records_of_type(objects, "logferry.unparsable")


async def test_full_pipe_refuses_events_and_delays_no_batch(s3_env: S3Environment) -> None:
    """A writer that never stops: batches are answered, memory stays bounded, and stored plus counted is written."""
    async with running(s3_env, LOGFERRY_FLUSH="invocation", LOGFERRY_EVENTS_LIMIT="300") as (platform, hook):
        await platform.invoke(["warm"])
        done, slowest, n = asyncio.Event(), 0.0, 0

        async def flood() -> None:
            nonlocal n
            while not done.is_set():
                for _ in range(200):
                    hook.write(n, size=3000)
                    n += 1
                await asyncio.sleep(0)

        flooding = asyncio.create_task(flood())
        for number in range(10):
            began = time.monotonic()
            await platform.deliver(batch(function(f"line {number}")))
            slowest = max(slowest, time.monotonic() - began)
        held = await platform.invoke(["end"], seconds=20)
        done.set()
        await flooding
        await platform.shutdown(seconds=20)
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
        messages = [line for line in platform.extension.output if "events of the function" in line]
    print(f"slowest response {slowest:.2f} s, held {held:.2f} s, {hook.refused} refused")
    assert slowest < RESPONSE_SECONDS
    assert max(numbers_of(objects).values()) == 1
    assert 0 < len(numbers_of(objects)) <= 3 * 300
    assert len(messages) == 1, messages


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x00" * 65_536, id="NUL"),
        pytest.param(b"{" * 1000 + b"\n", id="half objects"),
        pytest.param(b'{"event":"half', id="half lines"),
        pytest.param(b"\n" * 65_536, id="empty lines"),
        pytest.param(b'{"event":"e","x":' + b"[" * 4000 + b"\n", id="deep"),
        pytest.param(bytes(range(256)) * 15 + b"\n", id="all bytes"),
    ],
)
async def test_junk_in_pipe_and_endpoint_is_reported_once_and_affects_no_batch(
    s3_env: S3Environment, junk: bytes
) -> None:
    """Ten MB of junk on both paths: batches are answered, an event behind it is stored, and one message is logged."""
    async with running(s3_env, LOGFERRY_FLUSH="invocation") as (platform, hook):
        shipper, began_at = platform.extension.shipper, time.monotonic()
        await platform.invoke(["warm"])
        slowest = 0.0
        for number in range(5):
            with contextlib.suppress(BlockingIOError):
                for _ in range(2 * 1024 * 1024 // len(junk)):
                    os.write(hook._fd, junk)
            assert await platform.post((junk * (1 + 1_000_000 // len(junk)))[: 1 << 20], path="/events") in (200, 400)
            assert await platform.post(junk[:1] * ((1 << 20) + 1), path="/events") in (413, None)
            began = time.monotonic()
            await platform.deliver(batch(function(f"line {number}")))
            slowest = max(slowest, time.monotonic() - began)
        await platform.invoke(["end of the junk"], seconds=20)
        os.write(hook._fd, b"\n")
        hook.write(7)
        await platform.invoke(["last"], seconds=20)
        assert platform.extension.shipper == shipper, platform.extension.output
        await platform.shutdown(seconds=20)
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
        messages = [line for line in platform.extension.output if "events of the function" in line]
    print(f"slowest response {slowest:.2f} s, messages {messages}")
    assert numbers_of(objects) == Counter([7])
    assert slowest < RESPONSE_SECONDS
    assert len(messages) <= 2  # one for each reason
    assert len(records_of_type(objects, "logferry.unparsable")) <= 1 + time.monotonic() - began_at


async def test_five_hundred_connections_to_the_endpoint_keep_no_batch_from_being_accepted(
    s3_env: S3Environment,
) -> None:
    """Idle, half-sent and complete requests for events, all at the same time."""
    chance = random.Random(11)  # noqa: S311 - an order of connections
    async with running(s3_env, LOGFERRY_FLUSH="invocation") as (platform, _):
        await platform.invoke(["warm"])
        body = b'{"event":"e","n":1}\n'
        head = b"POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
        parts = [b"", head[:20], head, head + body[:5], head + body]
        writers = []
        slowest = 0.0
        for number in range(500):
            _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
            with contextlib.suppress(ConnectionError):
                writer.write(chance.choice(parts))
            writers.append(writer)
            if number % 100 == 99:
                began = time.monotonic()
                await platform.deliver(batch(function(f"line {number}")))
                slowest = max(slowest, time.monotonic() - began)
        for writer in writers:
            writer.close()
        await platform.invoke(["end"])
        await platform.shutdown()
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
    assert slowest < RESPONSE_SECONDS
    assert numbers_of(objects)[1] > 0


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
async def test_anything_else_at_the_path_of_the_pipe_is_reported_once(s3_env: S3Environment, kind: str) -> None:
    """Events can still be posted, and the function is not affected."""
    path = s3_env.spool / "events"
    s3_env.spool.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("content")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/etc/passwd")
    async with BareLambda(s3_env.settings(LOGFERRY_EVENTS="true", LOGFERRY_FLUSH="invocation")) as platform:
        extension = await platform.start()
        for number in range(2):
            assert await platform.post(b'{"event":"e","n":%d}' % number, path="/events") == 200
            await platform.invoke([f"line {number}"])
        kill_and_wait(extension.shipper, signal.SIGKILL)
        await platform.invoke(["after a restart"])
        await platform.shutdown()
        objects = await s3_env.arrived()
        assert_balanced(platform, objects, s3_env.spool)
    assert numbers_of(objects) == Counter([0, 1])
    assert len([line for line in extension.output if "the pipe for events is not available" in line]) == 1
    assert path.is_dir() if kind == "directory" else path.read_text() != ""
    assert path.is_symlink() == (kind == "link")


async def test_taken_port_is_stored_in_the_spool(s3_env: S3Environment) -> None:
    """A client finds the endpoint although another process has the configured port."""
    taken = await asyncio.start_server(lambda *_: None, "0.0.0.0", 0)
    port = taken.sockets[0].getsockname()[1]
    settings = s3_env.settings(LOGFERRY_EVENTS="true", LOGFERRY_FLUSH="invocation", LOGFERRY_PORT=str(port))
    async with taken, BareLambda(settings) as platform:
        await platform.start()
        url = (s3_env.spool / "events-url").read_text()
        assert url == f"http://127.0.0.1:{platform.port}/events\n"
        assert platform.port != port
        assert await platform.post(b'{"event":"e","n":1}', path="/events") == 200
        await platform.invoke(["line"])
        await platform.shutdown()
        assert numbers_of(await s3_env.arrived()) == Counter([1])


async def test_pipe_is_removed_when_logferry_idles(s3_env: S3Environment) -> None:
    """A hook that opens the pipe and a shell that writes to it return at once; an open descriptor gets EPIPE."""
    settings = s3_env.settings(LOGFERRY_EVENTS="true", LOGFERRY_EVENTS_LIMIT="-1")
    async with BareLambda(settings) as platform:
        extension = await platform.start()
        await platform.wait_until(lambda: any("invalid settings" in line for line in extension.output))
        until = time.monotonic() + 10
        while (s3_env.spool / "events").exists():
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
        with pytest.raises(FileNotFoundError):
            Hook(s3_env.spool)
        for _ in range(2):
            await asyncio.to_thread(
                subprocess.run,
                ["/bin/sh", "-c", f"echo '{{}}' > '{s3_env.spool}/events'"],
                check=True,
                timeout=10,
            )
        assert await platform.hand_out(invoke_event("idle")) < 5
        await platform.shutdown()


async def test_blocked_writer_is_released_when_logferry_idles(s3_env: S3Environment) -> None:
    """A writer without O_NONBLOCK waits on a full pipe. It must not wait for the rest of the environment's life."""
    patch = "import logferry.supervisor.supervisor as s\ns.RESTART_DELAYS_SECONDS = (0.0,)"
    settings = s3_env.settings(LOGFERRY_EVENTS="true", LOGFERRY_FLUSH="time")
    async with BareLambda(settings, command=boot_with(patch)) as platform:
        extension = await platform.start()
        os.kill(extension.shipper or 0, signal.SIGSTOP)
        script = f"while :; do echo '{'x' * 4000}' || exit 3; done > '{s3_env.spool}/events'"
        writer = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"trap '' PIPE; {script}", stderr=-3)
        await asyncio.sleep(0.5)
        assert writer.returncode is None
        for _ in range(2):
            kill_and_wait(extension.shipper, signal.SIGKILL)
            await asyncio.sleep(0.3)
        await platform.wait_until(lambda: any("it is not restarted" in line for line in extension.output))
        assert await asyncio.wait_for(writer.wait(), 10) == 3
        await platform.shutdown()
