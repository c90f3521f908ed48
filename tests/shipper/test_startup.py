"""Loading and serving beside each other: who runs where, at which priority, and how either ends both.

Each in a process of its own, for a thread that has lowered its priority cannot raise it again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import logferry
from logferry.shipper.startup import NICE

pytestmark = pytest.mark.timeout(30)

SECONDS = 10
SCENE = f"""
import json, os, select, sys, threading, time
sys.path.append({str(Path(logferry.__file__).parents[1])!r})
from logferry.shipper.startup import warm_up
from logferry.shipper.pause import Pause

notes, pause = {{}}, Pause()
def here():
    thread = threading.get_native_id()
    return [os.getpriority(os.PRIO_PROCESS, thread) - priority, thread == os.getpid()]
priority = os.getpriority(os.PRIO_PROCESS, 0)
def busy():
    until = time.monotonic() + {SECONDS}
    while time.monotonic() < until:
        pass
def load():
    notes["load"] = here()
    return "the libraries"
def serve(done):
    notes["serve"] = here()
    select.select([done], [], [], {SECONDS})
    notes["served"] = True
def then(loaded):
    notes["then"] = here()
    notes["loaded"] = loaded
def fails(*_):
    raise ImportError("aiohttp")
began, interval = time.monotonic(), sys.getswitchinterval()
"""
END = """
notes["seconds"] = time.monotonic() - began
notes["interval"] = sys.getswitchinterval() == interval
notes["as before"] = os.getpriority(os.PRIO_PROCESS, 0) == priority
print(json.dumps(notes))
"""


def notes_of(call: str) -> dict[str, Any]:
    """What a process notes in which `call` is made; under `raised` what it raises."""
    guarded = f"try:\n    {call}\nexcept BaseException as error:\n    notes['raised'] = repr(error)\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCENE + guarded + END],
        capture_output=True, text=True, check=True, timeout=2 * SECONDS,
    )  # fmt: skip
    assert not done.stderr
    notes: dict[str, Any] = json.loads(done.stdout)
    return notes


def test_the_main_thread_loads_at_a_low_priority_and_the_other_serves_for_life_at_the_full_one() -> None:
    """It gives way to the function's init; who answers deliveries and ships does not."""
    notes = notes_of("warm_up(load, pause=pause, serve=serve, then=then)")
    assert notes["load"] == [NICE, True]
    assert notes["serve"] == notes["then"] == [0, False]
    assert notes["loaded"] == "the libraries"
    assert notes["interval"], "the lock's switching is as before"


def test_what_loading_raises_is_raised_when_serving_has_ended() -> None:
    """A missing library ends the shipper, and the supervisor says so; requests that are half read are finished."""
    notes = notes_of("warm_up(fails, pause=pause, serve=serve, then=then)")
    assert notes["raised"] == "ImportError('aiohttp')"
    assert notes["served"]
    assert "then" not in notes
    assert notes["interval"]


def test_what_serving_raises_ends_loading_at_once() -> None:
    """Nobody would answer the supervisor, and it would count the shipper as hung after seconds."""
    notes = notes_of("warm_up(busy, pause=pause, serve=fails, then=then)")
    assert notes["raised"] == "ImportError('aiohttp')"
    assert notes["seconds"] < SECONDS / 2
    assert "then" not in notes


def test_what_is_raised_later_in_life_is_raised_too() -> None:
    """The process ends with a traceback and a code, whichever thread it was."""
    notes = notes_of("warm_up(load, pause=pause, serve=serve, then=fails)")
    assert notes["raised"] == "ImportError('aiohttp')"
