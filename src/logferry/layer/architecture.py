"""Lambda's two processor architectures with the names that ELF, Debian and the wheels use for them.

The module also holds the place of the tree. The only names below `/opt` are `extensions`,
`logferry` and `logferry-wrap`: `/opt/lib`, `/opt/bin` and `/opt/python` are on the search paths of the
function, so no file of logferry may be there.

References: AWS Lambda Developer Guide, "Layer paths for each Lambda runtime".
"""

import platform
from dataclasses import dataclass
from pathlib import PurePosixPath

HOME = PurePosixPath("/opt/logferry")
"""Folder of the tree at run time. It is absolute, because ELF requires an absolute path of the
interpreter."""


@dataclass(frozen=True)
class Architecture:
    """One processor architecture under all its names."""

    name: str
    """Name in Lambda's API."""
    elf_machine: int
    """`e_machine` of its ELF files (System V ABI)."""
    debian: str
    gnu: str
    """First part of its GNU triplet, and the machine in the platform tags of wheels."""
    loader: str
    """File name of glibc's dynamic loader."""

    @property
    def triplet(self) -> str:
        """Debian's multiarch folder."""
        return f"{self.gnu}-linux-gnu"

    @property
    def is_native(self) -> bool:
        """Whether this machine runs programs of the architecture."""
        return platform.machine() == self.gnu


ARCHITECTURES = {
    "x86_64": Architecture("x86_64", 62, "amd64", "x86_64", "ld-linux-x86-64.so.2"),
    "arm64": Architecture("arm64", 183, "arm64", "aarch64", "ld-linux-aarch64.so.1"),
}


def native() -> Architecture:
    """Return the architecture of this machine; KeyError if Lambda does not offer it."""
    for arch in ARCHITECTURES.values():
        if arch.is_native:
            return arch
    raise KeyError(platform.machine())
