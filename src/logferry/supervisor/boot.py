"""Script that the launcher executes: `python -I -S boot.py FOLDERS` starts the supervisor.

FOLDERS is a colon-separated list that is appended to `sys.path`. Isolated mode (`-I`) ignores the
function's PYTHON* variables. Without `site` (`-S`) the interpreter finds none of the function's
packages.

Design: Python compiles a script at each start, whereas imported modules are cached as bytecode.
This file stays tiny.
"""

import sys

sys.path.extend(sys.argv[1].split(":"))

from logferry.supervisor.supervisor import main

main()
