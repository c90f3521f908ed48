"""Program that executes another program inside a root: mounts, chroot, user, environment, exec.

It is started as `unshare --mount --propagation private python -I -S enter_root.py '{"root": …}'`,
so that the mounts end with the process and are invisible to other processes. The environment is
extended in the last step: variables that affect a dynamic program must affect the program under
test, and not the programs before it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Execute the order in the only argument."""
    order = json.loads(sys.argv[1])
    root = Path(order["root"])
    for source, target, options in order["mounts"]:
        inside = root / target.lstrip("/")
        if not inside.exists():
            raise SystemExit(f"enter_root: the mount point {inside} is missing")
        words = ["-t", "proc", "proc"] if source == "proc" else ["--bind", source]
        subprocess.run(["mount", *words, str(inside)], check=True)
        if options:
            subprocess.run(["mount", "-o", f"remount,bind,{options}", str(inside)], check=True)
    environment = {name: value for name, value in os.environ.items() if name not in order["without"]}
    os.chroot(root)
    os.chdir(order["directory"])
    if order["user"]:
        os.setgroups([])
        os.setgid(order["user"][1])
        os.setuid(order["user"][0])
    os.execve(order["command"][0], order["command"], environment | order["environment"])  # noqa: S606 - the purpose of the program


main()
