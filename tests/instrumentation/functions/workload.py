"""A Python function that uses resources as its event requires; the keys are processed in this order.

| key | effect |
|---|---|
| `print` | line on stdout |
| `cpu_ms` | CPU time to use, in milliseconds |
| `allocate_mb` | memory to allocate, to touch and to free |
| `write_mb` | size of a file to write into TMPDIR |
| `descriptors` | number of descriptors to open until the process ends |
| `spin` | start a thread that uses the CPU until the process ends, if true |
| `threads` | number of threads to start until the process ends |
| `exhaust` | memory limit of the process above its current size, in MB, which is then exceeded |
| `sleep_ms` | pause in milliseconds |
| `hold_mb` | memory to allocate and to keep until the process ends |
| `exit` | exit code of the process |
| `signal` | signal that the process sends to itself |

The response has the CPU time of the process during the handler, in milliseconds. The variable INIT_CPU_MS sets the CPU
time that the import of this module uses.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

MEBIBYTE = 1024 * 1024
_kept: list[Any] = []


def handler(event: dict[str, Any], _context: object) -> dict[str, float]:
    """Use resources and return the CPU time."""
    began = time.process_time()
    if "print" in event:
        sys.stdout.write(f"{event['print']}\n")
        sys.stdout.flush()
    spin(began + event.get("cpu_ms", 0) / 1000)
    touched(event.get("allocate_mb", 0))
    if "write_mb" in event:
        Path(os.environ["TMPDIR"], "written").write_bytes(os.urandom(event["write_mb"] * MEBIBYTE))
    _kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(event.get("descriptors", 0)))
    if event.get("spin"):
        threading.Thread(target=spin, args=(float("inf"),), daemon=True).start()
    for _ in range(event.get("threads", 0)):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    if "exhaust" in event:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + event["exhaust"] * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            touched(2 * event["exhaust"])
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    time.sleep(event.get("sleep_ms", 0) / 1000)
    _kept.append(touched(event.get("hold_mb", 0)))
    if "exit" in event:
        os._exit(event["exit"])
    if "signal" in event:
        os.kill(os.getpid(), event["signal"])
    return {"cpuMs": (time.process_time() - began) * 1000}


def spin(until: float) -> None:
    """Use the CPU until the CPU time of this process reaches a value in seconds."""
    while time.process_time() < until:
        pass


def touched(megabytes: int) -> bytes:
    """Return memory of which every page is in use."""
    return b"x" * (megabytes * MEBIBYTE)


spin(float(os.environ.get("INIT_CPU_MS", "0")) / 1000)
