"""The extensions that are compared: their command lines and environment variables.

An environment contains the variables that Lambda gives an extension, and none of the caller's (Extensions
API, "Environment variables in extensions"). The naive shipper runs on the interpreter and the packages of
the benchmark, without `site`, whose `.pth` files belong to the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from logferry.cli.run import argv

if TYPE_CHECKING:
    from benchmark.mount_namespace import MountNamespace

HERE = Path(__file__).resolve().parent
BUCKET = "benchmark"
SITE_PACKAGES = ":".join(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
LAYER_COMMAND = ["/opt/extensions/logferry"]


@dataclass(frozen=True)
class Endpoint:
    """The URL of an S3 endpoint, and the CA bundle for its certificate."""

    url: str
    ca_bundle: Path


@dataclass(frozen=True)
class Extension:
    """An extension: its name in the table, its command line, and its additional variables."""

    name: str
    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    namespace: MountNamespace | None = None
    """Mount namespace of its processes; None: that of the benchmark."""

    def environment(self, *, api: str, endpoint: Endpoint, tmp: Path) -> dict[str, str]:
        """Return all environment variables of its processes."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "TMPDIR": str(tmp),
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": "a-session-token",
            "AWS_ENDPOINT_URL_S3": endpoint.url,
            "AWS_CA_BUNDLE": str(endpoint.ca_bundle),
            "LOGFERRY_DESTINATION": f"s3://{BUCKET}/logs",
            "LOGFERRY_SPOOL_DIR": str(tmp / "spool"),
            **self.variables,
        }


@dataclass(frozen=True)
class Extensions:
    """All compared extensions. `bare` is a command that starts the interpreter of `logferry` and exits."""

    logferry: Extension
    naive: Extension
    bare: list[str]
    c: Extension | None
    baseline: Extension | None = None
    """The layer of an earlier commit."""


def extensions(scratch: Path, *, layer: bool, baseline: MountNamespace | None = None) -> Extensions:
    """Return the extensions and compile the C program; with `layer`, logferry is the tree at /opt."""
    checkout = argv()
    interpreter = _layer_interpreter() if layer else checkout[0]
    return Extensions(
        logferry=Extension("logferry", LAYER_COMMAND if layer else checkout),
        naive=Extension(
            "naive",
            [sys.executable, "-S", str(HERE / "naive_shipper.py")],
            {"PYTHONPATH": SITE_PACKAGES, "NAIVE_BUCKET": BUCKET},
        ),
        bare=[interpreter, "-I", "-S", "-c", "pass"],
        c=_compiled(scratch),
        baseline=Extension("baseline", LAYER_COMMAND, namespace=baseline) if baseline else None,
    )


def _layer_interpreter() -> str:
    found = [path for path in Path("/opt/logferry/bin").glob("python3*") if os.access(path, os.X_OK)]
    if not found:
        raise FileNotFoundError("/opt/logferry/bin/python3* is missing: pass a tree of `logferry layer build`")
    return str(min(found, key=lambda path: len(path.name)))


def _compiled(scratch: Path) -> Extension | None:
    """Compile the C program; return None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = scratch / "minimal_extension"
    source = HERE / "minimal_extension.c"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", str(source), "-o", str(program)], check=True)
    return Extension("C", [str(program)])
