"""Environment variables of the processes. Pure.

Guarantees:
- No variable of the emulator's own environment reaches a process except PATH, which a developer needs
  for python and node. A variable that does not exist on Lambda cannot make an extension work here.

References: "Using Lambda environment variables"; "Using the Lambda Extensions API" and `AgentExecEnv`
in aws-lambda-runtime-interface-emulator for the variables that extensions do not receive. These
include all names that start with an underscore.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.emulator.environment_config import EnvironmentConfig

NOT_FOR_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def _shared(
    config: EnvironmentConfig, *, runtime_api: str, tmp: str, path: str, credentials_token: str
) -> dict[str, str]:
    variables = {
        "PATH": path,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "TMPDIR": tmp,
        **config.environment,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": config.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": config.initialization_type,
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
    }
    if config.snap_start:  # keys in a snapshot would expire ("Improving startup performance with SnapStart")
        variables = {key: value for key, value in variables.items() if key not in KEY_VARIABLES}
        variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{runtime_api}/2021-04-23/credentials"
        variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = credentials_token
    if config.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
    return variables


def for_extension(
    config: EnvironmentConfig,
    *,
    runtime_api: str,
    tmp: str,
    credentials_token: str,
    inherited: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the variables of an extension; `inherited` supplies PATH."""
    path = inherited.get("PATH", os.defpath)
    variables = _shared(config, runtime_api=runtime_api, tmp=tmp, path=path, credentials_token=credentials_token)
    return {key: value for key, value in variables.items() if key not in NOT_FOR_EXTENSIONS and not key.startswith("_")}


def for_runtime(
    config: EnvironmentConfig,
    *,
    runtime_api: str,
    tmp: str,
    credentials_token: str,
    log_stream: str,
    log_socket: str | None,
    inherited: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the variables of the function's process; `inherited` supplies PATH.

    `log_socket` is the path for the output of Managed Instances workers, or None.
    """
    path = inherited.get("PATH", os.defpath)
    variables = _shared(config, runtime_api=runtime_api, tmp=tmp, path=path, credentials_token=credentials_token)
    if config.snap_start:  # log group and stream do not exist ("SnapStart monitoring")
        return variables | {"_HANDLER": config.handler, "LAMBDA_TASK_ROOT": str(config.working_directory)}
    variables |= {
        "_HANDLER": config.handler,
        "LAMBDA_TASK_ROOT": str(config.working_directory),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{config.function_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
    }
    if config.managed_instances and config.runtime_processes == 1:
        variables["AWS_LAMBDA_MAX_CONCURRENCY"] = str(config.max_concurrency)
        if log_socket is not None:
            variables["_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"] = log_socket
    return variables
