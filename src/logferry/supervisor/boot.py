"""Where the launcher lands: `python -I -S boot.py FOLDERS` makes the package importable and becomes the supervisor.

FOLDERS is a colon-separated list that is appended to `sys.path`: isolated mode (`-I`) ignores the function's PYTHON*
variables, and without `site` (`-S`) nothing of the function's own packages can be found by accident. This file stays
tiny because a script is compiled at each start, while what it imports is cached as bytecode.
"""

import sys

sys.path.extend(sys.argv[1].split(":"))

from logferry.supervisor.supervisor import main

main()
