"""The slim layer: packages that only some configurations need are left out.

Guarantees:
- A package stays if a requirement of logferry other than those in `OPTIONAL` needs it, directly or
  indirectly. The wheels' own metadata decides.
- The certificate authorities in `CA_BUNDLE` stay.

Design: the own S3 client covers the common configuration (`sinks.s3`). The full layer contains the
SDK for all others. In a slim layer such a configuration is an error that names the full layer. The
own client verifies hosts that do not belong to Amazon, such as those of compatible stores, against
botocore's bundle, which is one file without code.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from logferry.layer.subprocesses import LayerError

OPTIONAL = ("aioboto3", "aiohttp", "google-re2", "backports-zstd")
"""Requirements of logferry that only the adapter of the AWS SDK, patterns, or zstd import."""
CA_BUNDLE = "botocore/cacert.pem"
"""File that stays although its package is removed."""
CA_BUNDLE_OWNER = "botocore-*"
"""Pattern of the package's name, for NOTICE."""


def remove_optional(site: Path, *, markers: Mapping[str, str]) -> None:
    """Remove the optional packages, and those that only they need, from a folder of installed packages.

    `markers` are the values of the environment markers in the layer. Raises LayerError if logferry
    does not require one of `OPTIONAL`, or if the folder lacks a package.
    """
    installed: dict[str, Distribution] = {canonicalize_name(one.name): one for one in distributions(path=[str(site)])}
    direct = [Requirement(text) for text in requires("logferry") or ()]
    if missing := set(OPTIONAL) - {canonicalize_name(one.name) for one in direct}:
        raise LayerError(f"logferry does not require {', '.join(sorted(missing))}; correct `OPTIONAL` in {__name__}")
    kept = needed((one for one in direct if canonicalize_name(one.name) not in OPTIONAL), installed, markers)
    for name, distribution in installed.items():
        if name not in kept:
            _remove(distribution, site)


def needed(
    requirements: Iterable[Requirement], installed: Mapping[str, Distribution], markers: Mapping[str, str]
) -> set[str]:
    """Return the names of the packages that requirements need, directly or indirectly.

    Raises LayerError if one of them is not installed.
    """
    visited: set[tuple[str, frozenset[str]]] = set()
    pending = [("logferry", one) for one in requirements if _applies(one, markers, ())]
    while pending:
        parent, requirement = pending.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name not in installed:
            raise LayerError(f"{parent} needs {name}, which the pinned requirements do not contain; pin them again")
        if (name, extras) not in visited:
            visited.add((name, extras))
            indirect = map(Requirement, installed[name].requires or ())
            pending += [(name, one) for one in indirect if _applies(one, markers, extras)]
    return {name for name, _ in visited}


def _applies(requirement: Requirement, markers: Mapping[str, str], extras: Iterable[str]) -> bool:
    """Return whether the marker of a requirement is true, with one of the extras or without."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**markers, "extra": extra}) for extra in ("", *extras))


def _remove(distribution: Distribution, site: Path) -> None:
    """Remove the files in the record of a package, and the folders that are empty then."""
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if path.is_relative_to(site) and ".." not in file.parts and file.as_posix() != CA_BUNDLE:
            path.unlink(missing_ok=True)
            _remove_empty_folders(path.parent, site)


def _remove_empty_folders(folder: Path, site: Path) -> None:
    while folder != site and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
