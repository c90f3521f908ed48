"""Configuration of one emulated execution environment and of the platform around it.

Design: all values are frozen, because every choice is made before the environment starts, as on
Lambda. The defaults are the platform's own values. A docstring states where AWS documents none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logferry.emulator.clock import PlatformClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

InitializationType = Literal["on-demand", "provisioned-concurrency", "snap-start", "lambda-managed-instances"]
LogFormat = Literal["Text", "JSON"]

MANAGED_INSTANCES: InitializationType = "lambda-managed-instances"
ON_DEMAND: InitializationType = "on-demand"
SNAP_START: InitializationType = "snap-start"

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Time limits of the phases. Tests shorten them to observe an overrun.

    References: "Lambda execution environment" (Init, Shutdown); "Using the Lambda Extensions API"
    (share of the runtime).
    """

    on_demand_init_seconds: float = 10.0
    other_init_seconds: float = 130.0
    """Init limit of all other initialization types. A longer function timeout replaces it."""

    shutdown_seconds: float = 2.0
    """Total limit of the Shutdown phase with an external extension, including the runtime's share."""

    shutdown_internal_seconds: float = 0.5
    """Limit of the Shutdown phase with internal extensions only. Without extensions it is zero."""

    runtime_share_seconds: float = 0.3
    """Time from SIGTERM to SIGKILL of the runtime, with external extensions only."""

    runtime_share_internal_seconds: float = 0.5
    """Time from SIGTERM to SIGKILL of the runtime with an internal extension."""

    telemetry_flush_seconds: float = 1.0
    """Maximum wait for the delivery of pending records before SHUTDOWN, as in AWS's code for Managed Instances.

    It applies there and to every reset. AWS documents that the end of an input stream, such as a crash of
    the runtime, flushes the buffers.
    """

    restore_seconds: float = 10.0
    """Time limit of the Restore phase: after-restore hooks of the runtime."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TelemetryBehaviour:
    """Behaviour of the Telemetry API and of the Logs API towards their subscribers.

    `telemetry_status` and `logs_status` are the HTTP status of every subscription:

    * 200 works;
    * 202 accepts and never delivers, as AWS's emulator does outside Managed Instances;
    * 404 and 500 reject.
    """

    telemetry_status: Literal[200, 202, 404, 500] = 200
    logs_status: Literal[200, 202, 404, 500] = 200
    rejected_schemas: frozenset[str] = frozenset()

    shutdown_delay_seconds: Mapping[str, float] = field(default_factory=dict)
    """Delay after the SHUTDOWN event, by type (`platform.report`) or category (`function`).

    It applies to records that are pending at the start of the Shutdown phase or produced during it.
    """

    drop_on_busy: bool = False
    """Drop each batch that is due during an unfinished request, and never retry.

    AWS's Managed Instances emulator does this.
    """

    split_oversized: bool = False
    """Split a record larger than `maxBytes` into consecutive requests (datadog-lambda-extension#1357)."""

    buffer_limit_bytes: int = 8 * MEBIBYTE
    """Maximum size of the pending records of one subscriber. Further records are dropped and reported.

    AWS documents no value.
    """

    post_timeout_seconds: float = 5.0
    """Response timeout of a request, without frozen time. AWS documents no value."""

    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 1.0
    """Limit of the pause after a failed request, which doubles. AWS documents "backoff" and no values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentConfig:
    """A function, its extensions and their execution environment.

    `function` and the values of `extensions` are argument vectors. The key of an extension is its file
    name in `/opt/extensions`, under which it has to register. The runtime and every extension receive
    the variables in `environment`, which may contain credentials.
    `AWS_LAMBDA_EXEC_WRAPPER` there wraps `function`, as in a managed runtime.
    """

    function: Sequence[str]
    extensions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    function_name: str = "function"
    handler: str = "app.handler"
    region: str = "us-east-1"
    account_id: str = "123456789012"
    timeout_seconds: float = 3.0
    memory_mb: int = 128
    log_format: LogFormat = "Text"
    initialization_type: InitializationType = ON_DEMAND

    max_concurrency: int = 1
    """Maximum number of concurrent invocations on Managed Instances."""

    runtime_processes: int = 1
    """Number of `function` processes on Managed Instances.

    A single process receives `AWS_LAMBDA_MAX_CONCURRENCY` and starts its own workers. Several processes
    do not receive it and serve one invocation each.
    """

    freeze: bool = True
    limit_cpu: bool = False
    """Limit the CPU share of all processes as `memory_mb` does on Lambda. It needs control groups and root."""

    clock: PlatformClock = field(default_factory=PlatformClock)
    """Clock of the times in records."""

    working_directory: Path = field(default_factory=Path.cwd)
    tmp_directory: Path | None = None
    """`/tmp` of the environment, passed as TMPDIR and kept across resets.

    None creates a directory and removes it at the end.
    """

    telemetry: TelemetryBehaviour = field(default_factory=TelemetryBehaviour)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Raise ValueError for a configuration that cannot start or whose names are ambiguous."""
        if not self.function:
            raise ValueError(
                "function: an argument vector is needed, such as ['python', '-m', 'awslambdaric', 'app.handler']"
            )
        if any(name.startswith("runtime") for name in self.extensions):
            raise ValueError("extensions: a name cannot begin with 'runtime', the name of the function's process")

    @property
    def managed_instances(self) -> bool:
        """Whether this is Lambda Managed Instances: concurrent invocations, no freeze, SHUTDOWN events only."""
        return self.initialization_type == MANAGED_INSTANCES

    @property
    def snap_start(self) -> bool:
        """Whether the environment is initialized for a snapshot and restored before its first invocation."""
        return self.initialization_type == SNAP_START

    @property
    def function_arn(self) -> str:
        """The ARN of the invoked function."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.function_name}"

    @property
    def init_limit_seconds(self) -> float:
        """The time limit of the Init phase."""
        if self.initialization_type == ON_DEMAND:
            return self.limits.on_demand_init_seconds
        return max(self.limits.other_init_seconds, self.timeout_seconds)
