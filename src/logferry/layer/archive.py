"""The zip file of the layer.

Guarantees:
- The same tree gives the same bytes: entries are sorted by name, and every entry has the earliest
  time of the format.
- The zip contains the permission bits of the files. Lambda refuses an extension that is not marked
  executable (`Extension.LaunchError`).
- A tree with a link is rejected, because some programs that unpack a zip do not create links.
"""

import stat
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
"""Value of `create_system`: the upper half of `external_attr` is a Unix mode (APPNOTE 4.4.2)."""
_BEST = 9
"""Compression level. The zip is written once and downloaded often."""


def write(tree: Path, archive: Path) -> None:
    """Zip the files below a folder. Raises ValueError if one of them is a link or a device."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=_BEST) as zipped:
        for path in sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).as_posix()):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise ValueError(f"{path.relative_to(tree)} is not a plain file and cannot go into a layer")
            entry = zipfile.ZipInfo(path.relative_to(tree).as_posix(), _EPOCH)
            entry.create_system = _UNIX
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | stat.S_IMODE(mode)) << 16
            zipped.writestr(entry, path.read_bytes(), compresslevel=_BEST)
