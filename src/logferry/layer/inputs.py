"""Files that the builder reads in addition to the package: C sources, hooks and the pinned requirements.

Guarantees:
- The builder works from a checkout and from an installed package.

Design: a wheel contains the files in the folder `data` of this package, under their names in the
checkout. The table `force-include` in pyproject.toml lists them.
"""

from pathlib import Path

from logferry.layer.subprocesses import LayerError

LAUNCHER = "extension/launcher.c"
EXEC_WRAPPER = "extension/exec_wrapper.c"
SYSTEM_CALLS = "extension/system_calls.h"
"""Header that both C sources include."""
HOOKS = "extension/hooks"
"""Folder of the hooks, which run in the process of the function."""
REQUIREMENTS = ".requirements/extension.txt"
DATA = Path(__file__).with_name("data")
CHECKOUT = Path(__file__).parents[3]


def find(name: str) -> Path:
    """Return a file or folder by its name in the checkout. Raises LayerError if it is missing."""
    for folder in (DATA, CHECKOUT):
        if (folder / name).exists():
            return folder / name
    raise LayerError(f"{name} is missing in {DATA} and {CHECKOUT}; install logferry again, or build from a checkout")
