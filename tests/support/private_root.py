"""A private root directory for one process and its children, with the paths of Lambda.

Guarantees:
- No file of the machine is created or changed, and no file remains after the last process has ended. The
  namespace includes a process namespace, so all processes die with the first one.
- The machine's programs and libraries are present, read-only. Its homes, ``/tmp``, ``/run`` and ``/opt``
  are not.
- ``/tmp`` is private and as large as Lambda's default. ``/dev/shm`` is absent, as on Lambda.
- Any uid can read all files. Lambda runs processes as uid 993, which cannot execute an interpreter under a
  closed home directory. The interpreter's prefix is therefore mounted at its path under new, open parents.

Design: AWS's emulator reads fixed paths (``/opt/extensions``, ``/var/task``, ``/var/runtime``). They are
created on a tmpfs in a separate mount namespace. The network is the machine's, so the emulator reaches an
S3 server on loopback, and the test reaches the emulator. Root is required, and the commands ``unshare``,
``mount`` and ``chroot`` (util-linux, coreutils).
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import logferry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Search path of the tools. The PATH of a user often lacks the first directory."""

UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")

TMP_SIZE = "512m"
"""Size of ``/tmp``: Lambda's default (developer guide, "Configure ephemeral storage")."""

PROBE_SECONDS = 10
"""Time limit for one namespace, in seconds. It takes milliseconds."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PROBE = "mount -t tmpfs tmpfs /tmp && mkdir /tmp/proc && mount -t proc proc /tmp/proc"


@functools.cache
def why_impossible() -> str | None:
    """Return the reason why no private root can be created here, or None."""
    if sys.platform != "linux":
        return f"namespaces need Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "mounting needs root: run the tests as root, or in a privileged container"
    if missing := [name for name in ("unshare", "mount", "chroot") if shutil.which(name, path=SEARCH_PATH) is None]:
        return f"no command {', '.join(missing)}: install util-linux and coreutils"
    probe = subprocess.run(
        [*UNSHARE, "sh", "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
    )
    return f"no mount namespace: {probe.stderr.strip()}; a container must be privileged" if probe.returncode else None


def python_mounts() -> dict[str, Path]:
    """Return the mounts that the interpreter of the tests needs: its prefixes and this project."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(logferry.__file__).parents[1]}
    found |= {Path(hop).parent.parent for hop in _links(Path(sys.executable))}
    outside = {
        path for path in found if not any(path.is_relative_to(system) for system in _SYSTEM) and path != Path("/")
    }
    return {str(path): path for path in outside if not any(path.is_relative_to(other) for other in outside - {path})}


def _links(path: Path) -> Iterator[Path]:
    """Yield each step of a symbolic link; a virtual environment's python can lead through several prefixes."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def script(
    *,
    stage: Path,
    read_only: Mapping[str, Path],
    writable: Mapping[str, Path],
    environment: Mapping[str, str],
    command: Iterable[str],
) -> str:
    """Return the shell script that creates the root under ``UNSHARE`` and executes ``command`` in /var/task.

    The script copies ``stage/tree`` into the root, mounts the root at ``stage/root`` and writes the process
    id of ``command``, as the machine numbers it, to ``stage/pid``. The mounts map a path inside to one
    outside. ``command`` receives only ``environment``, after the root is complete. A hostile PATH or
    LD_PRELOAD cannot disturb the creation of the root.
    """
    variables = [f"{name}={value}" for name, value in environment.items()]
    root = stage / "root"
    lines = [
        "set -eu",
        "umask 022",
        # The machine's /proc is still mounted, so this is the id outside the new process namespace. exec keeps it.
        f"read -r pid rest </proc/self/stat; echo $pid >{_q(stage / 'pid')}",
        f"mount -t tmpfs -o mode=755 tmpfs {_q(root)}",
        f"cd {_q(root)}; mkdir -p opt/extensions var/task proc dev tmp; cd /",
        f"cp -r {_q(stage / 'tree')}/. {_q(root)}",
        f"chmod -R a+rX {_q(root)}",
        f"mount -t tmpfs -o mode=1777,size={TMP_SIZE} tmpfs {_q(root / 'tmp')}",
        f"mount -t proc proc {_q(root)}/proc",
        *_devices(root),
        *(line for path in map(Path, _SYSTEM) for line in _system(root, path)),
        *(line for inside, outside in read_only.items() for line in _bind(root, inside, outside, read_only=True)),
        *(line for inside, outside in writable.items() for line in _bind(root, inside, outside, read_only=False)),
        f"exec chroot {_q(root)} /usr/bin/env -i -C /var/task {shlex.join([*variables, *command])}",
    ]
    return "\n".join(lines) + "\n"


def _devices(root: Path) -> list[str]:
    binds = [line for name in _DEVICES for line in _bind(root, f"/dev/{name}", Path("/dev", name), read_only=False)]
    return [*binds, f"ln -s /proc/self/fd {_q(root)}/dev/fd"]


def _system(root: Path, path: Path) -> list[str]:
    """Return the commands that bind a directory of the machine; a link such as /bin -> usr/bin stays a link."""
    if path.is_symlink():
        return [f"ln -s {_q(path.readlink())} {_q(root)}{path}"]
    return _bind(root, str(path), path, read_only=True) if path.is_dir() else []


def _bind(root: Path, inside: str, outside: Path, *, read_only: bool) -> list[str]:
    target = _q(f"{root}{inside}")
    create = f"mkdir -p {target}" if outside.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
    lock = [f"mount -o remount,bind,ro {target}"] if read_only else []
    return [create, f"mount --bind {_q(outside)} {target}", *lock]


def _q(path: Path | str) -> str:
    return shlex.quote(str(path))
