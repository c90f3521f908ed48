"""Picture of an invocation for the three flush cases. Pure.

The picture shows two invocations of each case. An upload is between the complete request and its
response, as S3 sees it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmark.pictures.svg import WIDTH, document, dot, line, rect, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TITLE = "Time line of two invocations for the three flush cases"
LEFT, RIGHT = 148, 24
"""Margins of the time axis, in pixels. The names of the cases are on the left."""
TOP, PANEL, LANE, BAR = 48, 112, 25, 16
STEPS_MS = (25, 50, 100, 200)
NOTES = {
    "nothing due": ("nothing due", "the invocation", "is not extended"),
    "post-execution": ("post-execution", "extended until the", "object is stored"),
    "next-invocation": ("next-invocation", "the object is stored", "one invocation later"),
}
"""Name of each case and its explanation in two lines."""


def draw(data: Mapping[str, Any]) -> str:
    """Return the picture."""
    cases = data["cases"]
    longest = max(case["invocations"][-1]["end"] for case in cases.values()) * 1.04
    scale = (WIDTH - LEFT - RIGHT) / longest
    body = list(_legend())
    for index, (name, case) in enumerate(cases.items()):
        body += _panel(name, case, top=TOP + index * PANEL, scale=scale)
    bottom = TOP + len(cases) * PANEL
    body += _axis(longest, bottom, scale)
    return document(height=bottom + 40, title=TITLE, description=_description(data), body=body)


def _panel(name: str, case: Mapping[str, Any], *, top: float, scale: float) -> Iterator[str]:
    title, *explanation = NOTES[name]
    yield line(16, top, WIDTH - 16, top)
    yield text(16, top + 30, title, kind="strong")
    for number, words in enumerate(explanation):
        yield text(16, top + 50 + 17 * number, words, kind="small muted")
    lanes = [top + 12 + LANE * number for number in range(3)]
    for start, end in case["uploads"]:
        yield rect(LEFT + scale * start, lanes[1], scale * (end - start), BAR, color="upload")
    for one in case["invocations"]:
        yield from _invocation(one, lanes, scale)
    for one, following in pairwise(case["invocations"]):
        middle = LEFT + scale * (one["end"] + following["invoke"]) / 2
        yield text(middle, lanes[2] + 12, "frozen", kind="small muted", anchor="middle")


def _invocation(one: Mapping[str, float], lanes: Sequence[float], scale: float) -> Iterator[str]:
    start, runtime_done, end = (LEFT + scale * one[name] for name in ("invoke", "runtime_done", "end"))
    done = LEFT + scale * one["done"]
    yield rect(start, lanes[0], runtime_done - start, BAR, color="function")
    yield rect(start, lanes[2], end - start, BAR, color="billed")
    yield line(runtime_done, lanes[0] - 4, runtime_done, lanes[2] + BAR, kind="mark")
    yield dot(done, lanes[1] + BAR / 2)
    billed = one["end"] - one["invoke"]
    extension = one["end"] - one["runtime_done"]
    yield text(
        start, lanes[2] + BAR + 15, f"billed {billed:.0f} ms, extended by {extension:.1f} ms", kind="small muted"
    )


def _legend() -> Iterator[str]:
    x = float(LEFT)
    for color, label in (("function", "function"), ("upload", "upload (request at S3)"), ("billed", "billed")):
        yield rect(x, 18, 14, 12, color=color)
        yield text(x + 20, 29, label, kind="small")
        x += 40 + 7 * len(label)
    yield dot(x + 4, 24)
    yield text(x + 14, 29, "DONE", kind="small")
    x += 72
    yield line(x, 16, x, 32, kind="mark")
    yield text(x + 8, 29, "runtimeDone", kind="small")


def _axis(longest: float, top: float, scale: float) -> Iterator[str]:
    step = next((one for one in STEPS_MS if longest / one <= 10), STEPS_MS[-1])
    yield line(16, top, WIDTH - 16, top)
    for value in range(0, int(longest) + 1, step):
        x = LEFT + scale * value
        yield line(x, top, x, top + 5, kind="arrow")
        yield text(x, top + 21, f"{value} ms" if value == 0 else str(value), kind="small muted", anchor="middle")


def _description(data: Mapping[str, Any]) -> str:
    times = f"a function of {data['function_ms']} ms and a service time of S3 of {data['service_ms']:.0f} ms"
    sentences = [f"Measured in the emulator with {times}."]
    for name, case in data["cases"].items():
        first, second = case["invocations"]
        extensions = [one["end"] - one["runtime_done"] for one in (first, second)]
        sentences.append(
            f"{name}: {len(case['uploads'])} uploads; the invocations are extended by "
            f"{extensions[0]:.1f} and {extensions[1]:.1f} ms after runtimeDone."
        )
    return " ".join(sentences)
