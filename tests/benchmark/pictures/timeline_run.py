"""Measurement of the time line: two invocations in the emulator, for each of the three flush cases.

Design: S3 is a stand-in with a fixed service time, which notes when a request is complete and when
its response leaves. The emulator and the stand-in use the monotonic clock of one process.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import logferry.emulator.samples
from logferry.cli.run import argv
from logferry.emulator.lambda_service import EnvironmentConfig, Lambda
from support.s3_stub import OK, server_that

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from logferry.emulator.timeline import Entry

SERVICE_MS = 20.0
"""Service time of S3 for a small PUT in the same region, in milliseconds."""
FUNCTION_MS = 60
"""Duration of the function, in milliseconds."""
IDLE_SECONDS = 0.05
"""Time between two invocations, in seconds: short, so that both fit into one picture."""
WARM_INVOCATIONS = 4
PAIRS = 9
"""Number of measured pairs of invocations. The pair with the median duration is kept."""
EXTENSION = "logferry"
CASES: Mapping[str, Mapping[str, str]] = {
    "nothing due": {"LOGFERRY_FLUSH": "size"},
    "post-execution": {"LOGFERRY_FLUSH": "invocation"},
    "next-invocation": {"LOGFERRY_FLUSH": "invocation", "LOGFERRY_FLUSH_TIMING": "next-invocation"},
}
"""Settings of each case."""


@dataclass(frozen=True)
class Invocation:
    """The times of one invocation, in milliseconds since the first one of the pair."""

    invoke: float
    runtime_done: float
    done: float
    """logferry has requested its next event."""
    end: float
    """The invocation ends, and the environment can freeze."""


@dataclass(frozen=True)
class Pair:
    """Two consecutive invocations, and the uploads in them as (start, end)."""

    invocations: tuple[Invocation, Invocation]
    uploads: tuple[tuple[float, float], ...]

    @property
    def duration(self) -> float:
        """Return the billed time of both invocations, in milliseconds."""
        return sum(one.end - one.invoke for one in self.invocations)


def measure() -> dict[str, Any]:
    """Measure all cases, and return the data of the picture."""
    cases = {name: asdict(asyncio.run(_median_pair(settings))) for name, settings in CASES.items()}
    return {"service_ms": SERVICE_MS, "function_ms": FUNCTION_MS, "cases": cases}


async def _median_pair(settings: Mapping[str, str]) -> Pair:
    puts: list[tuple[float, float]] = []

    def answer(connection: socket.socket, _number: int) -> bool:
        began = time.monotonic()
        time.sleep(SERVICE_MS / 1000)
        connection.sendall(OK)
        puts.append((began, time.monotonic()))
        return True

    with server_that(answer) as (s3, _), tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        async with Lambda(_config(Path(folder), {**s3, **settings})) as service:
            service.timeline.add("clock", "picture")
            origin = time.monotonic() * 1000 - service.timeline[-1].at_ms
            for _ in range(WARM_INVOCATIONS + 2 * PAIRS):
                await service.invoke({"lines": 3, "sleep_ms": FUNCTION_MS})
                await service.wait_idle()
                await service.idle_for(IDLE_SECONDS)
            await service.shutdown()
            uploads = [(start * 1000 - origin, end * 1000 - origin) for start, end in puts]
            pairs = sorted(_pairs(list(service.timeline), uploads), key=lambda pair: pair.duration)
    return pairs[len(pairs) // 2]


def _config(folder: Path, settings: Mapping[str, str]) -> EnvironmentConfig:
    return EnvironmentConfig(
        function=[sys.executable, "-m", "awslambdaric", "app.handler"],
        extensions={EXTENSION: argv()},
        environment={
            "LOGFERRY_DESTINATION": "s3://my-log-bucket/logs",
            "LOGFERRY_SPOOL_DIR": str(folder / "spool"),
            **settings,
        },
        working_directory=Path(logferry.emulator.samples.__file__).parent,
        tmp_directory=folder,
    )


def _pairs(entries: Sequence[Entry], uploads: Sequence[tuple[float, float]]) -> Iterator[Pair]:
    """Yield the pairs of invocations after the warm-up."""
    invocations = list(_invocations(entries))[WARM_INVOCATIONS:]
    for first, second in zip(invocations[::2], invocations[1::2], strict=True):
        zero = first.invoke
        inside = [(start - zero, end - zero) for start, end in uploads if zero <= start <= second.end]
        moved = [Invocation(**{name: value - zero for name, value in asdict(one).items()}) for one in (first, second)]
        yield _rounded(Pair((moved[0], moved[1]), tuple(inside)))


def _invocations(entries: Sequence[Entry]) -> Iterator[Invocation]:
    for index, entry in enumerate(entries):
        if entry.kind == "invoke":
            later = entries[index:]
            runtime_done = _first(later, "runtime-done", entry.subject).at_ms
            # The emulator reads the memory of all processes before it notes the end, so the entry is late.
            extension = _first(later, "invoke-end", entry.subject).detail["post_runtime_ms"]
            yield Invocation(
                invoke=entry.at_ms,
                runtime_done=runtime_done,
                done=_first(later, "next", EXTENSION).at_ms,
                end=runtime_done + extension,
            )


def _first(entries: Sequence[Entry], kind: str, subject: str) -> Entry:
    return next(entry for entry in entries if entry.kind == kind and entry.subject == subject)


def _rounded(pair: Pair) -> Pair:
    def near(value: float) -> float:
        return round(value, 1)

    invocations = [Invocation(**{name: near(value) for name, value in asdict(one).items()}) for one in pair.invocations]
    return Pair((invocations[0], invocations[1]), tuple((near(start), near(end)) for start, end in pair.uploads))
