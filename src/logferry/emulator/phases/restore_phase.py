"""The Restore phase of SnapStart, before the first invocation of a restored snapshot.

1. The environment thaws with the state of its Init phase, which may have run weeks ago.
2. The runtime leaves `/restore/next` and runs its after-restore hooks.
3. The phase ends when the runtime calls `/invocation/next`.

Guarantees:
- Extensions receive no event. They notice the restore only by `platform.restoreStart` and by INVOKE.
- A runtime without hooks that has called `/invocation/next` in its Init phase is restored at once.

Design: the emulator cannot clone processes, so an environment is the only copy of its snapshot. After a
failed restore the next invocation runs a suppressed init instead of another restore.

References: `handleRestore` in aws-lambda-runtime-interface-emulator; "Lambda execution environment".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry.emulator.conditions import EnvironmentBrokenError, Failure
from logferry.emulator.invocation import MILLISECONDS
from logferry.emulator.sandbox import ENVIRONMENT
from logferry.emulator.telemetry import platform_events

if TYPE_CHECKING:
    from logferry.emulator.sandbox import Sandbox

TIMED_OUT = "SnapStartTimeoutException"


async def restore(sandbox: Sandbox) -> float:
    """Restore a sandbox and return the duration in ms; raise EnvironmentBrokenError if it fails."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    limit = sandbox.config.limits.restore_seconds
    sandbox.thaw()
    sandbox.timeline.add("restore", ENVIRONMENT, status="begin")
    record = platform_events.restore_start(sandbox.config, instance_id=sandbox.log_stream)
    sandbox.relay.emit(platform_events.RESTORE_START, record)
    sandbox.runtime.restore()
    error_type: str | None = None
    try:
        await sandbox.conditions.wait_for(lambda: sandbox.runtime.is_ready, deadline=started + limit)
    except EnvironmentBrokenError as error:
        error_type = error.failure.error_type
        raise
    except TimeoutError:
        error_type = TIMED_OUT
        raise EnvironmentBrokenError(Failure(TIMED_OUT, f"the restore took longer than {limit:g} s")) from None
    finally:
        duration_ms = round((loop.time() - started) * MILLISECONDS, 3)
        _emit_report(sandbox, duration_ms, error_type)
    sandbox.is_restored = True
    return duration_ms


def _emit_report(sandbox: Sandbox, duration_ms: float, error_type: str | None) -> None:
    done = platform_events.restore_runtime_done(error_type=error_type)
    sandbox.relay.emit(platform_events.RESTORE_RUNTIME_DONE, done)
    report = platform_events.restore_report(duration_ms=duration_ms, error_type=error_type)
    sandbox.relay.emit(platform_events.RESTORE_REPORT, report)
    sandbox.timeline.add("restore", ENVIRONMENT, status=error_type or "success", duration_ms=duration_ms)
