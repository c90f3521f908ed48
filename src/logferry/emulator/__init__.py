"""Local emulator of Lambda that tests an external extension without an AWS account.

Guarantees:
- Nothing is imported from the rest of logferry, so the emulator cannot share a fault with its client.
- No process, socket or directory remains after `async with Lambda(...)`.

Design: `lambda_service.Lambda` is the entry point. Behaviour follows AWS's documentation and the
source of aws-lambda-runtime-interface-emulator. Each module names its source.

A new fault of the platform belongs here:

| fault | module |
|---|---|
| delivery of records (order, delay, retry, loss) | `environment_config.TelemetryBehaviour`, `telemetry/` |
| subscription | `environment_config.TelemetryBehaviour`, `apis/telemetry_api` |
| a phase (Init, Restore, Invoke, Shutdown) or a time limit | `environment_config.Limits`, `phases/` |
| variables, start and output of a process | `environment_config.EnvironmentConfig`, `processes/` |
| time of day of the platform | `clock` |

A fault of S3 or of the network to S3 belongs to `tests/support/fault_proxy.py`.
"""
