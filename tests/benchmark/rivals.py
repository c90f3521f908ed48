"""Who is compared: how each is started, and in which environment.

An environment holds what Lambda gives an extension and nothing of the caller's (Extensions API, "Environment variables
in extensions"). The naive rival runs on the interpreter and the packages that run the benchmark, isolated from its
`site`, whose `.pth` files would be the machine's and not the rival's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from logferry.cli.run import argv

HERE = Path(__file__).resolve().parent
BUCKET = "benchmark"
OWN_PATHS = ":".join(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


@dataclass(frozen=True)
class Rival:
    """An extension: its name in the table, its command line, its own variables."""

    name: str
    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, *, api: str, s3_url: str, certificate: Path, tmp: Path) -> dict[str, str]:
        """The whole environment of its processes."""
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
            "AWS_ENDPOINT_URL_S3": s3_url,
            "AWS_CA_BUNDLE": str(certificate),
            "LOGFERRY_DESTINATION": f"s3://{BUCKET}/logs",
            "LOGFERRY_SPOOL_DIR": str(tmp / "spool"),
            **self.variables,
        }


@dataclass(frozen=True)
class Rivals:
    """All of them. `bare` is no extension: a command that starts the interpreter of `logferry` and ends."""

    logferry: Rival
    naive: Rival
    bare: list[str]
    c: Rival | None


def rivals(scratch: Path, *, layer: bool) -> Rivals:
    """Build what has to be built. `layer`: logferry is the layer tree that is mounted at /opt, not the checkout."""
    checkout = argv()
    command = ["/opt/extensions/logferry"] if layer else checkout
    interpreter = _layer_interpreter() if layer else checkout[0]
    return Rivals(
        logferry=Rival("logferry", command),
        naive=Rival(
            "naive",
            [sys.executable, "-S", str(HERE / "naive.py")],
            {"PYTHONPATH": OWN_PATHS, "NAIVE_BUCKET": BUCKET},
        ),
        bare=[interpreter, "-I", "-S", "-c", "pass"],
        c=_compiled(scratch),
    )


def _layer_interpreter() -> str:
    found = [path for path in Path("/opt/logferry/bin").glob("python3*") if os.access(path, os.X_OK)]
    if not found:
        raise FileNotFoundError("there is no /opt/logferry/bin/python3*: is it a tree of `logferry layer build`?")
    return str(min(found, key=lambda path: len(path.name)))


def _compiled(scratch: Path) -> Rival | None:
    """The C program, or None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = scratch / "rival"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", str(HERE / "rival.c"), "-o", str(program)], check=True)
    return Rival("C", [str(program)])
