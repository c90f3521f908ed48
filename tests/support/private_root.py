"""A root directory that exists for one process and its children: ``/opt/extensions`` as Lambda has it, on any machine.

AWS's emulator reads fixed paths (``/opt/extensions``, ``/var/task``, ``/var/runtime``). They are made on a tmpfs inside
a mount namespace of its own, so that

  * nothing is created or changed on the machine, and nothing is left when the namespace's last process ends: it has a
    process namespace too, and all die with the first;
  * the machine's programs and libraries are there, read-only; its homes, ``/tmp``, ``/run`` and ``/opt`` are not;
  * ``/tmp`` is private and as large as Lambda's by default, ``/dev/shm`` is absent as it is there;
  * any uid may read what is there. Lambda runs processes as uid 993, and an interpreter under a closed home directory
    cannot be run by it: here its prefix is mounted at the same path, under parents that were made anew and are open.

The network is the machine's: the emulator reaches an S3 server on loopback, and is reached by the test.
Needs root, and the commands ``unshare``, ``mount`` and ``chroot`` (util-linux, coreutils).
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
"""Where the tools are looked for; a user's PATH often lacks the first."""

UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")

TMP_SIZE = "512m"
"""Lambda's default ephemeral storage (developer guide, "Configure ephemeral storage")."""

TRIAL_SECONDS = 10
"""Bound on making one namespace; it takes milliseconds."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_TRIAL = "mount -t tmpfs tmpfs /tmp && mkdir /tmp/proc && mount -t proc proc /tmp/proc"


@functools.cache
def why_impossible() -> str | None:
    """Return why no private root can be made here, or None."""
    if sys.platform != "linux":
        return f"namespaces are Linux's, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "mounting needs root: run the tests as root, or in a privileged container"
    if missing := [name for name in ("unshare", "mount", "chroot") if shutil.which(name, path=SEARCH_PATH) is None]:
        return f"no command {', '.join(missing)}: install util-linux and coreutils"
    trial = subprocess.run(
        [*UNSHARE, "sh", "-c", _TRIAL], capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False
    )
    return f"no mount namespace: {trial.stderr.strip()}; a container must be privileged" if trial.returncode else None


def python_mounts() -> dict[str, Path]:
    """Return what the interpreter that runs the tests needs in order to run there: its prefixes, and this project."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(logferry.__file__).parents[1]}
    found |= {Path(hop).parent.parent for hop in _links(Path(sys.executable))}
    outside = {
        path for path in found if not any(path.is_relative_to(system) for system in _SYSTEM) and path != Path("/")
    }
    return {str(path): path for path in outside if not any(path.is_relative_to(other) for other in outside - {path})}


def _links(path: Path) -> Iterator[Path]:
    """Follow a symbolic link, hop by hop: a virtual environment's python may lead through several prefixes."""
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
    """Return the shell script that, run under ``UNSHARE``, makes the root and becomes ``command`` inside, in /var/task.

    ``stage/tree`` is copied into the root, ``stage/root`` is where it is mounted, and ``stage/pid`` receives the
    process id of ``command`` as the machine sees it. The mounts map a path inside to one outside. ``environment`` is
    all that ``command`` gets, and it gets it last: a hostile PATH or LD_PRELOAD cannot disturb the making of the root.
    """
    variables = [f"{name}={value}" for name, value in environment.items()]
    root = stage / "root"
    lines = [
        "set -eu",
        "umask 022",
        # The machine's /proc is still mounted, so this is the id outside the new process namespace; exec keeps it.
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
    """Show a directory of the machine; a link such as /bin -> usr/bin stays a link, and what is absent stays so."""
    if path.is_symlink():
        return [f"ln -s {_q(path.readlink())} {_q(root)}{path}"]
    return _bind(root, str(path), path, read_only=True) if path.is_dir() else []


def _bind(root: Path, inside: str, outside: Path, *, read_only: bool) -> list[str]:
    target = _q(f"{root}{inside}")
    place = f"mkdir -p {target}" if outside.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
    lock = [f"mount -o remount,bind,ro {target}"] if read_only else []
    return [place, f"mount --bind {_q(outside)} {target}", *lock]


def _q(path: Path | str) -> str:
    return shlex.quote(str(path))
