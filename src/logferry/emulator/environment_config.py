"""What one emulated execution environment is made of, and how the platform in it behaves.

Frozen values only: everything a user can choose is chosen before the environment starts, as on Lambda.
The defaults are the platform's own figures; where AWS documents none, the line says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

InitializationType = Literal["on-demand", "provisioned-concurrency", "lambda-managed-instances"]
LogFormat = Literal["Text", "JSON"]

MANAGED_INSTANCES: InitializationType = "lambda-managed-instances"
ON_DEMAND: InitializationType = "on-demand"

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The time limits of a life. Seams for tests: shorten them where a test has to see one pass.

    Sources: "Lambda execution environment" (init, shutdown), "Using the Lambda Extensions API" (the runtime's share).
    """

    on_demand_init_seconds: float = 10.0
    other_init_seconds: float = 130.0
    """Provisioned concurrency and Managed Instances: this or the function timeout, whichever is longer."""

    shutdown_seconds: float = 2.0
    """With an external extension. It is the total, the runtime's share included."""

    shutdown_internal_seconds: float = 0.5
    """With internal extensions only. With none at all, nobody is waited for."""

    runtime_share_seconds: float = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class TelemetryBehaviour:
    """How the Telemetry API and the Logs API treat their subscribers.

    `telemetry_answer` and `logs_answer` are the status of every subscription: 200 works; 202 accepts and never
    delivers (what AWS's emulator does outside Managed Instances); 404 and 500 refuse.
    """

    telemetry_answer: Literal[200, 202, 404, 500] = 200
    logs_answer: Literal[200, 202, 404, 500] = 200
    refused_schemas: frozenset[str] = frozenset()

    drop_on_busy: bool = False
    """Like AWS's Managed Instances emulator: what is due while a POST is unanswered is dropped, nothing is retried."""

    split_oversized: bool = False
    """Cut a record larger than `maxBytes` into consecutive POSTs, as reported in datadog-lambda-extension#1357."""

    buffer_limit_bytes: int = 8 * MEBIBYTE
    """What may wait for one subscriber. AWS documents no figure; records past it are dropped and announced."""

    post_timeout_seconds: float = 5.0
    """How long a POST may go unanswered, frozen time not counted. AWS documents no figure."""

    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 1.0
    """The pause after a failed POST doubles from the first to the longest. AWS says "backoff" and no figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentConfig:
    """A function, its extensions and the environment they share.

    `function` and the values of `extensions` are argument vectors. An extension's key is its file name in
    `/opt/extensions`, the name it has to register under. `environment` is what the user configured: it goes to the
    runtime and to every extension, and is the place for credentials too.
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
    """Managed Instances: how many invocations run at once."""

    runtime_processes: int = 1
    """Managed Instances: how many copies of `function` to start. One copy is told `AWS_LAMBDA_MAX_CONCURRENCY` and
    makes its own workers; several are told nothing and hold one invocation each."""

    freeze: bool = True
    working_directory: Path = field(default_factory=Path.cwd)
    tmp_directory: Path | None = None
    """`/tmp` of the environment, given as TMPDIR; kept across resets. None makes one and removes it at the end."""

    telemetry: TelemetryBehaviour = field(default_factory=TelemetryBehaviour)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what could not be started, or told apart. Raises ValueError."""
        if not self.function:
            raise ValueError(
                "function: an argument vector is needed, such as ['python', '-m', 'awslambdaric', 'app.handler']"
            )
        if any(name.startswith("runtime") for name in self.extensions):
            raise ValueError(
                "extensions: a name cannot begin with 'runtime', which is what the function's process is called"
            )

    @property
    def managed_instances(self) -> bool:
        """Whether this is Lambda Managed Instances: many invocations at once, no freeze, SHUTDOWN events only."""
        return self.initialization_type == MANAGED_INSTANCES

    @property
    def function_arn(self) -> str:
        """The ARN that invocations are addressed to."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.function_name}"

    @property
    def init_limit_seconds(self) -> float:
        """How long the first init may take."""
        if self.initialization_type == ON_DEMAND:
            return self.limits.on_demand_init_seconds
        return max(self.limits.other_init_seconds, self.timeout_seconds)
