"""Become a program inside another root: mounts of its own, then chroot, another user, its environment, exec.

Started as `unshare --mount --propagation private python -I -S enter_root.py '{"root": …}'`, so that the mounts vanish
with the process and the machine sees nothing of them. The environment's additions are put on at the very last step:
what they would do to a dynamic program must happen to the program under test, not to the ones that lead to it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Do what the one argument says."""
    order = json.loads(sys.argv[1])
    root = Path(order["root"])
    for source, target, options in order["mounts"]:
        inside = root / target.lstrip("/")
        if not inside.exists():
            raise SystemExit(f"enter_root: {inside} is not there to mount on")
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
    os.execve(order["command"][0], order["command"], environment | order["environment"])  # noqa: S606 - its purpose


main()
