"""Source of the settings that are checked: this environment, an env file, or a function's configuration.

Guarantees:
- An env file is read as `docker run --env-file` reads it: no quotes, no substitution.
- JSON may be the output of `aws lambda get-function-configuration` or `get-function`, or have `Variables` at the top.
- With a file, the LOGFERRY_ variables of this environment are ignored, and all others remain.
- All mistakes of a file are reported at once, with their lines. No message contains a value.

Design: credentials and proxies are those of this machine unless the file sets them. A function's configuration also
names its region, its role and its network.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logferry.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 1 << 20
"""Maximum size of a file, in bytes. The variables of a function have at most 4 KB."""
STDIN = "-"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_QUOTED_CHARACTERS = 2


class SourceError(Exception):
    """A file that has no settings. The message names it, with the reason and the remedy."""


@dataclass(frozen=True)
class FunctionConfiguration:
    """The parts of a function's configuration that concern the destination. Each may be empty."""

    name: str
    region: str
    role: str
    is_in_vpc: bool


@dataclass(frozen=True)
class SettingsSource:
    """Variables as the extension would see them, and their origin."""

    environ: dict[str, str]
    origin: str
    function: FunctionConfiguration | None = None
    warnings: tuple[str, ...] = ()


def from_environment(environ: Mapping[str, str]) -> SettingsSource:
    """Return the variables of this environment."""
    return SettingsSource(dict(environ), "environment variables")


def from_file(path: str, environ: Mapping[str, str]) -> SettingsSource:
    """Return the variables of a file over those of this environment. Raise SourceError."""
    if path.endswith(".toml"):
        raise SourceError(f"{path} is a configuration file, which LOGFERRY_CONFIG names: give it with --config")
    name = "stdin" if path == STDIN else path
    text = _read(path, name)
    base = {key: value for key, value in environ.items() if not key.startswith(PREFIX)}
    if not text.lstrip().startswith("{"):
        variables, warnings = _env_file(text, name)
        _check_variables(variables, name)
        return SettingsSource(base | variables, name, warnings=warnings)
    variables, function = _configuration(text, name)
    _check_variables(variables, name)
    if function.region:
        base["AWS_REGION"] = function.region
    if function.name:
        base["AWS_LAMBDA_FUNCTION_NAME"] = function.name
    return SettingsSource(base | variables, name, function)


def _read(path: str, name: str) -> str:
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SourceError(f"cannot read {name}: it has more than {MAX_BYTES} bytes; give the file of the settings")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"cannot read {name}: it is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror or error}; check the path") from error


def _check_variables(variables: Mapping[str, str], name: str) -> None:
    """Raise SourceError if the environment of a process cannot have some of the variables."""
    if wrong := [key for key, value in variables.items() if not _NAME.fullmatch(key) or not _is_possible(value)]:
        named = ", ".join([ascii(key) for key in wrong])
        raise SourceError(f"cannot read {name}: no process can have the variables {named}; correct names and values")


def _is_possible(value: str) -> bool:
    """Return whether a variable can have a value: no null character, and valid Unicode."""
    return not re.search("[\\0\\ud800-\\udfff]", value)


def _env_file(text: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables of an env file, and warnings. Raise SourceError with the numbers of all invalid lines."""
    variables: dict[str, str] = {}
    invalid, warnings = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.lstrip().partition("=")
        if not equals or not _NAME.fullmatch(key):
            invalid.append(str(number))
            continue
        if len(value) >= _QUOTED_CHARACTERS and value[0] == value[-1] and value[0] in "'\"":
            warnings.append(f"line {number}: the quotes are a part of the value of {key}: remove them")
        variables[key] = value
    if invalid:
        lines = f"line {invalid[0]} is" if len(invalid) == 1 else f"lines {', '.join(invalid)} are"
        raise SourceError(f"cannot read {name}: {lines} not NAME=VALUE; use the form of config/example.env")
    return variables, tuple(warnings)


def _configuration(text: str, name: str) -> tuple[dict[str, str], FunctionConfiguration]:
    """Return variables and properties of a function. Raise SourceError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"cannot read {name}: it is not valid JSON: {error}") from error
    function: Any = document.get("Configuration", document)
    if not isinstance(function, dict) or not function.keys() & {"Environment", "FunctionName", "Variables"}:
        raise SourceError(
            f"cannot read {name}: it has neither Environment nor Variables; "
            "give the output of `aws lambda get-function-configuration`"
        )
    environment = function.get("Environment", function)
    if isinstance(environment, dict) and environment.get("Error"):
        raise SourceError(
            f"cannot read {name}: Lambda could not decrypt the variables; "
            "repeat the command with kms:Decrypt on the key of the function"
        )
    variables = environment.get("Variables", {}) if isinstance(environment, dict) else None
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise SourceError(f"cannot read {name}: Variables is not an object of strings")
    arn = str(function.get("FunctionArn") or "").split(":")
    network = function.get("VpcConfig")
    return dict(variables), FunctionConfiguration(
        name=str(function.get("FunctionName") or ""),
        region=arn[3] if len(arn) > 3 else "",  # noqa: PLR2004 - arn:aws:lambda:REGION:…
        role=str(function.get("Role") or ""),
        is_in_vpc=isinstance(network, dict) and bool(network.get("SubnetIds")),
    )
