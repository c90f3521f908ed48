"""The layer's zip: the same tree gives the same bytes.

Entries are sorted by name; every time is the zip format's first moment; the permission bits are ours, because Lambda
starts what the zip marks executable, and refuses (`Extension.LaunchError`) what it does not. Links are not kept: the
tree has none, and not every unpacker makes them.
"""

import stat
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
"""`create_system`: the upper half of `external_attr` is a Unix mode (APPNOTE 4.4.2)."""
_BEST = 9


def write(tree: Path, archive: Path) -> None:
    """Zip the files below a folder; ValueError when there is a link or a device among them."""
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
