"""The NOTICE file: the software in the layer, its origin, and the full texts of its licences.

Design: the layer redistributes binaries of the GNU C Library, OpenSSL, CPython and some twenty
packages. Each licence requires that its text is distributed too. Equal texts are printed once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

_COMMON_LICENCES = "common-licenses"
"""Folder of the texts that Debian's copyright files refer to."""

_CITED = ("Apache-2.0", "GPL-2", "GPL-3", "LGPL-2", "LGPL-2.1", "LGPL-3", "BSD", "MPL-2.0")
_SHIPPED = (
    *("libpython3*-minimal", "libpython3*-stdlib", "libc6", "libgcc-s1", "gcc-*-base", "libssl3*", "zlib1g", "libffi*"),
    *("libexpat1", "libstdc++6", "libbz2-1.0", "liblzma5", "libuuid1", "libdb5*", "libzstd1"),
)
"""Debian packages whose libraries may be in the tree. A package without a copyright file is not in
it."""

_HEAD = """\
The Lambda layer of logferry contains the software named below, with these modifications: ELF search paths are set to
{home}, symbol tables are removed from some libraries, Python sources are compiled to bytecode without docstrings, and
parts that logferry does not use are removed. In the dynamic loader of the GNU C Library the file names
/etc/ld.so.preload and /etc/ld.so.cache are overwritten with names below {home} that do not exist. The GNU C Library is
used as a shared library, and may be replaced with another one of the same interface (LGPL-2.1, section 6). Its source
is the source of the Debian package named below.

"""


@dataclass(frozen=True)
class Component:
    """A piece of software in the layer with the texts of its licences."""

    title: str
    texts: tuple[str, ...]


def compose(*, home: str, provenance: Iterable[str], components: Iterable[Component]) -> str:
    """Return the text of NOTICE."""
    parts = [_HEAD.format(home=home), "Built from:\n", *(f"  {line}\n" for line in provenance), "\n"]
    first_use: dict[str, str] = {}
    for component in components:
        parts.append(f"{'=' * 100}\n{component.title}\n{'=' * 100}\n")
        for text in component.texts:
            first = first_use.setdefault(text.strip(), component.title)
            parts.append(
                f"{text.strip()}\n\n" if first == component.title else f"The text under {first!r} applies.\n\n"
            )
    return "".join(parts)


def of_wheels(site: Path, packages: str = "*") -> Iterator[Component]:
    """Return a component for each installed package of a folder, with the licence files of its wheel."""
    for folder in sorted(site.glob(f"{packages}.dist-info")):
        metadata = HeaderParser().parsestr((folder / "METADATA").read_text("utf-8", "replace"), headersonly=True)
        terms = metadata["License-Expression"] or (metadata["License"] or "see below").splitlines()[0]
        names = ("licen[cs]e*", "LICEN[CS]E*", "NOTICE*", "COPYING*", "AUTHORS*")
        found = sorted({path for name in names for path in folder.rglob(name) if path.is_file()})
        texts = tuple(path.read_text("utf-8", "replace") for path in found)
        title = f"{metadata['Name']} {metadata['Version']} ({terms})"
        yield Component(title, texts or (f"No licence file in the wheel. {metadata['Home-page'] or ''}",))


def of_debian(documentation: Path) -> Iterator[Component]:
    """Return a component for each copyright file of the bundled libraries, then the texts that these refer to."""
    seen = set()
    for pattern in _SHIPPED:
        for path in sorted(documentation.glob(f"{pattern}/copyright")):
            if path.is_file() and path.parent.name not in seen:
                seen.add(path.parent.name)
                yield Component(path.parent.name, (path.read_text("utf-8", "replace"),))
    licences = documentation.parent / _COMMON_LICENCES
    for name in _CITED:
        if (licences / name).is_file():
            yield Component(
                f"The licence that other components name {name}", ((licences / name).read_text("utf-8", "replace"),)
            )
