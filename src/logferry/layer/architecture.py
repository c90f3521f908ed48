"""The two processors that Lambda has, and what each is called by those who have a name for it.

Also where things stand in the tree: the only two names under `/opt` are `extensions` and `logferry`. `/opt/lib`,
`/opt/bin` and `/opt/python` are on the function's own search paths (AWS documentation, "Layer paths for each Lambda
runtime") and must never hold anything of ours.
"""

import platform
from dataclasses import dataclass
from pathlib import PurePosixPath

HOME = PurePosixPath("/opt/logferry")
"""Where the tree stands when it runs. Absolute, because an ELF interpreter is."""


@dataclass(frozen=True)
class Architecture:
    """One processor under all its names."""

    name: str
    """As Lambda calls it."""
    elf_machine: int
    """`e_machine` of its ELF files (System V ABI)."""
    debian: str
    gnu: str
    """The first word of its triplet, and of its wheels' platform tags."""
    loader: str
    """File name of glibc's dynamic loader."""

    @property
    def triplet(self) -> str:
        """Debian's multiarch folder."""
        return f"{self.gnu}-linux-gnu"

    @property
    def is_native(self) -> bool:
        """Whether its programs run on this machine."""
        return platform.machine() == self.gnu


ARCHITECTURES = {
    "x86_64": Architecture("x86_64", 62, "amd64", "x86_64", "ld-linux-x86-64.so.2"),
    "arm64": Architecture("arm64", 183, "arm64", "aarch64", "ld-linux-aarch64.so.1"),
}


def native() -> Architecture:
    """Return this machine's own architecture; KeyError on a machine that Lambda does not have."""
    return next(arch for arch in ARCHITECTURES.values() if arch.is_native)
