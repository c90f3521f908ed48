"""The records of `platform.*` events. Pure: values in, dictionaries out.

Guarantees:
- An optional field without a value is absent, never null.
- Managed Instances have a reduced `platform.report` and no `platform.runtimeDone`.

References: "Lambda Telemetry API Event schema reference".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logferry.emulator.environment_config import EnvironmentConfig

Record = dict[str, Any]

INIT_START = "platform.initStart"
INIT_RUNTIME_DONE = "platform.initRuntimeDone"
INIT_REPORT = "platform.initReport"
START = "platform.start"
RUNTIME_DONE = "platform.runtimeDone"
REPORT = "platform.report"
RESTORE_START = "platform.restoreStart"
RESTORE_RUNTIME_DONE = "platform.restoreRuntimeDone"
RESTORE_REPORT = "platform.restoreReport"
EXTENSION = "platform.extension"
TELEMETRY_SUBSCRIPTION = "platform.telemetrySubscription"
LOGS_DROPPED = "platform.logsDropped"

LOGS_SUBSCRIPTION = "platform.logsSubscription"
END = "platform.end"
FAULT = "platform.fault"
LOGS_API_ONLY = frozenset({END, FAULT})

FUNCTION_LINE = "function"
EXTENSION_LINE = "extension"

TOO_SLOW = "Some logs were dropped because the downstream consumer is slower than the logs production rate"
FUNCTION_VERSION = "$LATEST"
BYTES_PER_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """An event for the subscribers; `time` is its time of production in seconds since the epoch."""

    time: float
    type: str
    record: Any

    @property
    def category(self) -> str:
        """The type in a subscription: platform, function or extension."""
        return self.type.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an invocation, in `platform.runtimeDone` and in `platform.report`."""

    request_id: str
    trace_id: str
    status: str
    error_type: str | None

    def as_record(self, **fields: Any) -> Record:
        """Return the record with the additional fields of its type."""
        return _present(
            requestId=self.request_id,
            status=self.status,
            errorType=self.error_type,
            **fields,
            tracing=_tracing(self.trace_id),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A period of an invocation; `start` is in seconds since the epoch."""

    name: str
    start: float
    duration_ms: float

    def as_record(self) -> Record:
        """Return the element of `spans`."""
        return {"name": self.name, "start": iso_time(self.start), "durationMs": self.duration_ms}


def iso_time(seconds: float) -> str:
    """Return seconds since the epoch as `2006-01-02T15:04:05.000Z`, the time format of telemetry."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _present(**fields: Any) -> Record:
    return {key: value for key, value in fields.items() if value is not None}


def init_start(config: EnvironmentConfig, *, phase: str, instance_id: str) -> Record:
    """Return the record of `platform.initStart`."""
    return {
        "initializationType": config.initialization_type,
        "phase": phase,
        "functionName": config.function_name,
        "functionVersion": FUNCTION_VERSION,
        "instanceId": instance_id,
        "instanceMaxMemory": config.memory_mb * BYTES_PER_MB,
    }


def init_runtime_done(config: EnvironmentConfig, *, phase: str, error_type: str | None) -> Record:
    """Return the record of `platform.initRuntimeDone`."""
    return _present(
        initializationType=config.initialization_type, phase=phase, status=_status(error_type), errorType=error_type
    )


def init_report(config: EnvironmentConfig, *, phase: str, duration_ms: float, error_type: str | None) -> Record:
    """Return the record of `platform.initReport`."""
    return _present(
        initializationType=config.initialization_type,
        phase=phase,
        status=_status(error_type),
        metrics={"durationMs": duration_ms},
        errorType=error_type,
    )


def restore_start(config: EnvironmentConfig, *, instance_id: str) -> Record:
    """Return the record of `platform.restoreStart`."""
    return {
        "functionName": config.function_name,
        "functionVersion": FUNCTION_VERSION,
        "instanceId": instance_id,
        "instanceMaxMemory": config.memory_mb * BYTES_PER_MB,
    }


def restore_runtime_done(*, error_type: str | None) -> Record:
    """Return the record of `platform.restoreRuntimeDone`."""
    return _present(status=_status(error_type), errorType=error_type)


def restore_report(*, duration_ms: float, error_type: str | None) -> Record:
    """Return the record of `platform.restoreReport`."""
    return _present(status=_status(error_type), errorType=error_type, metrics={"durationMs": duration_ms})


def _status(error_type: str | None) -> str:
    return "success" if error_type is None else "error"


def start(config: EnvironmentConfig, *, request_id: str, trace_id: str) -> Record:
    """Return the record of `platform.start`."""
    return _present(
        requestId=request_id,
        version=FUNCTION_VERSION,
        tracing=_tracing(trace_id),
        functionArn=config.function_arn if config.managed_instances else None,
    )


def _tracing(trace_id: str) -> Record:
    return {"type": "X-Amzn-Trace-Id", "value": trace_id}


def runtime_done(outcome: Outcome, *, duration_ms: float, produced_bytes: int | None, spans: Sequence[Span]) -> Record:
    """Return the record of `platform.runtimeDone`."""
    return outcome.as_record(
        metrics=_present(durationMs=duration_ms, producedBytes=produced_bytes), spans=_as_records(spans)
    )


def report(
    outcome: Outcome,
    *,
    duration_ms: float,
    memory_mb: int,
    max_memory_used_mb: int,
    init_duration_ms: float | None,
    restore_duration_ms: float | None,
    spans: Sequence[Span],
) -> Record:
    """Return the record of `platform.report` outside Managed Instances.

    `duration_ms` includes the overhead of the extensions.
    """
    metrics = _present(
        durationMs=duration_ms,
        billedDurationMs=ceil(duration_ms + (init_duration_ms or 0.0) + (restore_duration_ms or 0.0)),
        memorySizeMB=memory_mb,
        maxMemoryUsedMB=max_memory_used_mb,
        initDurationMs=init_duration_ms,
        restoreDurationMs=restore_duration_ms,
    )
    return outcome.as_record(metrics=metrics, spans=_as_records(spans))


def reduced_report(outcome: Outcome, *, duration_ms: float, spans: Sequence[Span]) -> Record:
    """Return the record of `platform.report` on Managed Instances: the duration and its spans."""
    return outcome.as_record(metrics={"durationMs": duration_ms}, spans=_as_records(spans))


def _as_records(spans: Sequence[Span]) -> list[Record] | None:
    return [span.as_record() for span in spans] or None


def extension(*, name: str, state: str, events: Iterable[str], error_type: str | None) -> Record:
    """Return the record of `platform.extension`."""
    return _present(name=name, state=state, events=sorted(events), errorType=error_type)


def telemetry_subscription(*, name: str, types: Sequence[str]) -> Record:
    """Return the record of `platform.telemetrySubscription` and of `platform.logsSubscription`."""
    return {"name": name, "state": "Subscribed", "types": list(types)}


def logs_dropped(*, records: int, size_bytes: int, reason: str) -> Record:
    """Return the record of `platform.logsDropped`."""
    return {"droppedRecords": records, "droppedBytes": size_bytes, "reason": reason}
