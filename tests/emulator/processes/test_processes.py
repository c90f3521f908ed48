"""Output of processes: streams, time and limits of the timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.emulator import lambda_service
from logferry.emulator.lambda_service import Lambda
from support.emulator_harness import EmulatorHarness

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_the_timeline_contains_each_line_with_its_stream(tmp_path: Path) -> None:
    """A line has its process, its stream and its time, which is within the invocation."""
    async with Lambda(EmulatorHarness(tmp_path).config()) as lam:
        await lam.invoke({"print": "one\ntwo\n", "print_stderr": "three\n", "linger": 0.1})
        await lam.wait_idle()
    output = [(e.subject, e.detail["stream"], e.detail["line"]) for e in lam.timeline.of("output")]
    assert sorted(output) == [
        ("runtime", "stderr", "three\n"),
        ("runtime", "stdout", "one\n"),
        ("runtime", "stdout", "two\n"),
    ]
    (invoke,), (done,) = lam.timeline.of("invoke"), lam.timeline.of("runtime-done")
    assert all(invoke.at_ms <= e.at_ms <= done.at_ms for e in lam.timeline.of("output"))


async def test_both_streams_are_records_of_the_function(tmp_path: Path) -> None:
    """The order is kept within a stream, and an unfinished line precedes runtimeDone."""
    harness = EmulatorHarness(tmp_path)
    async with Lambda(harness.config()) as lam:
        await lam.invoke({"print": "a\nb", "print_stderr": "c\nd\n"})
        await lam.shutdown()
    lines = [record["record"] for record in lam.records_sent if record["type"] == "function"]
    assert sorted(lines) == ["a", "b", "c", "d"]
    assert lines.index("a") < lines.index("b")
    assert lines.index("c") < lines.index("d")


async def test_the_timeline_is_bounded_by_the_size_of_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console keeps the last lines and the timeline the first ones."""
    monkeypatch.setattr(lambda_service, "CONSOLE_LINES", 3)
    async with Lambda(EmulatorHarness(tmp_path).config(extensions={})) as lam:
        await lam.invoke({"print": "".join(f"{number}\n" for number in range(5))})
    assert [line for _, line in lam.console] == ["2\n", "3\n", "4\n"]
    assert [e.detail["line"] for e in lam.timeline.of("output")] == ["0\n", "1\n", "2\n"]
