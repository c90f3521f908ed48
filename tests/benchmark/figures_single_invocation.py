"""Figures of environments that live for one short invocation: the number of lines that are lost.

The rules are Lambda's. Batches are delivered while the function runs. If the extension has not requested
/event/next by the deadline, the environment is reset. In either case SHUTDOWN follows, and SIGKILL after 2,000 ms.
A line is lost unless it is in an object in S3 by then, because /tmp is lost too.
"""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmark import log_lines, process_group
from benchmark.environment import FUNCTION_SECONDS, OPENING_SECONDS, SHUTDOWN_SECONDS, Environment
from benchmark.lambda_stub import StepTimeout
from benchmark.quota import SHARE_AT_128_MB, Quota, why_impossible
from benchmark.statistic import Row, Target, exactly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmark.extensions import Extension
    from benchmark.run_context import RunContext
    from benchmark.s3 import S3

ENVIRONMENTS = 20
LINES = 3
TIMEOUT_SECONDS = 3.0
"""Default timeout of a function, in seconds."""
SHARES = ((SHARE_AT_128_MB, 7), (2 * SHARE_AT_128_MB, 4), (1.0, 1))
"""Shares of a core, and the number of concurrent environments: together at most one of two cores."""


def single_invocation(run: RunContext) -> Iterator[Row]:
    """Lost lines of environments with one invocation, at the default timeout, at 7 %, 14 % and 100 % of a core."""
    if reason := why_impossible():
        run.progress(f"skipped: {reason}")
        return
    for share, concurrent in SHARES:
        lost = {
            extension.name: _lost_lines(run, extension, share, concurrent)
            for extension in (run.extensions.logferry, run.extensions.baseline)
            if extension
        }
        baseline = f"; baseline {lost['baseline']}" if "baseline" in lost else ""
        yield Row(
            f"lost lines of {ENVIRONMENTS} environments with one invocation at {share:.0%} of a core",
            exactly(lost["logferry"]), "", Target(at_most=0),
            f"{LINES} lines each, timeout {TIMEOUT_SECONDS:.0f} s, {ENVIRONMENTS * LINES} lines in all{baseline}",
        )  # fmt: skip


def _lost_lines(run: RunContext, extension: Extension, share: float, concurrent: int) -> int:
    """Run the environments, a few at a time, and count their lines that are not in S3."""
    folder = run.scratch / f"single-{extension.name}-{share:.2f}"
    folder.mkdir()
    run.s3.keep(folder)
    try:
        with ThreadPoolExecutor(concurrent) as pool:
            jobs = [pool.submit(live_once, extension, run.s3, share) for _ in range(ENVIRONMENTS)]
            lines = []
            for number, job in enumerate(jobs, 1):
                lines += job.result()
                run.progress(f"{extension.name}: environment {number} of {ENVIRONMENTS} at {share:.0%} of a core")
    finally:
        run.s3.keep(None)
    stored = stored_text(folder)
    return sum(line not in stored for line in lines)


def stored_text(folder: Path) -> str:
    """Return the content of all objects in a folder, without those that an end of their client has truncated."""
    texts = []
    for file in folder.iterdir():
        try:
            texts.append(gzip.decompress(file.read_bytes()).decode())
        except (EOFError, zlib.error, gzip.BadGzipFile):
            continue
    return "\n".join(texts)


def live_once(extension: Extension, s3: S3, share: float, timeout_seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Run an environment with one invocation until its end; return its lines."""
    with Quota(share) as quota:
        quota.impose()
        with Environment(extension, s3, quota=quota) as environment:
            request_id = environment.begin(timeout_seconds=timeout_seconds)
            deadline = time.perf_counter() + timeout_seconds
            lines = [f"single {request_id} line {number}" for number in range(LINES)]
            platform = threading.Thread(target=_deliver, args=(environment, request_id, lines))
            platform.start()
            # Without a request by the deadline, Lambda resets the environment; SHUTDOWN follows in either case.
            with contextlib.suppress(StepTimeout):
                environment.stub.wait_for_next(deadline - time.perf_counter())
            _shut_down(environment)
            platform.join()
    return lines


def _deliver(environment: Environment, request_id: str, lines: list[str]) -> None:
    """Deliver the lines and the end of the invocation; the platform drops records of an environment that has ended."""
    records = [log_lines.start(request_id), *(log_lines.function(line) for line in lines)]
    try:
        time.sleep(OPENING_SECONDS)
        environment.deliver(log_lines.delivery(records))
        time.sleep(FUNCTION_SECONDS)
        environment.deliver(log_lines.delivery([log_lines.runtime_done(request_id)]))
        environment.deliver(log_lines.delivery([log_lines.report(request_id)]))
    except OSError:
        return


def _shut_down(environment: Environment) -> None:
    """Send SHUTDOWN, at the next request for an event if none is pending, and SIGKILL after 2,000 ms."""
    deadline_ms = int((time.time() + SHUTDOWN_SECONDS) * 1000)
    environment.stub.queue_event({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms})
    environment.wait_for_exit(SHUTDOWN_SECONDS)
    process_group.kill(environment.group)
