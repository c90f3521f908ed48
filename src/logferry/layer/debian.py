"""Debian packages, fetched and unpacked without being installed, for any architecture and any of Debian's suites.

apt does it, with a configuration of its own in a private folder: its sources are derived from the machine's own (the
same archive, another suite), signatures are checked as always, the machine's package database is neither read nor
written, and no root is needed. What was downloaded is kept in the user's cache folder, so that a second build needs
the index alone.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logferry.layer.subprocesses import LayerError, find, run

SUITE = "trixie"
"""Debian 13: the oldest suite whose Python is new enough; CPython 3.13 with profile-guided optimisation, glibc 2.41."""

_REMEDY = "build on Debian (an image will do), or name an interpreter with --interpreter"
_KEYRING = "usr/share/keyrings"
"""Where Debian keeps the archive's keys, below the root."""


@dataclass(frozen=True)
class Package:
    """One unpacked package."""

    name: str
    version: str


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return logferry's folder below the user's cache (XDG Base Directory Specification)."""
    base = environment.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "logferry"


def unpack(
    names: Sequence[str],
    *,
    suite: str,
    debian_arch: str,
    into: Path,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Package]:
    """Unpack packages and all they depend on into a folder, and return which they were, sorted by name.

    Raises LayerError when this machine has no apt, its sources name no Debian archive, or the download fails.
    """
    apt_get = find("apt-get", remedy=_REMEDY)
    home = (cache or cache_folder()) / "debian" / f"{suite}-{debian_arch}"
    options = _private_configuration(home, suite=suite, debian_arch=debian_arch)
    run([apt_get, *options, "-qq", "update"], purpose=f"reading the index of Debian {suite}")
    plan = [apt_get, *options, "-qq", "-y", "--no-install-recommends", "install", *names]
    # Asked with an empty archive folder, apt names every file, not only those it has still to fetch.
    nothing_fetched = ["-o", f"Dir::Cache::Archives={home / 'empty'}", "--print-uris"]
    files = _planned_files(run([*plan, *nothing_fetched], purpose=f"resolving {' '.join(names)} in Debian {suite}"))
    say(f"{len(files)} packages of Debian {suite} ({debian_arch})")
    run([*plan, "--download-only"], purpose=f"downloading {' '.join(names)} from Debian {suite}")
    into.mkdir(parents=True, exist_ok=True)
    return [_extract(home / "archives" / file, into) for file in sorted(files)]


def _private_configuration(home: Path, *, suite: str, debian_arch: str) -> list[str]:
    """Lay out apt's folders and return the options that keep it inside them."""
    for folder in ("lists/partial", "archives/partial", "sources", "empty/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    (home / "sources" / "debian.sources").write_text(_sources(suite))
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": home / "sources",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": home / "empty",
        "Dir::State": home,
        "Dir::State::Lists": home / "lists",
        "Dir::State::Status": home / "status",
        "Dir::Cache": home,
        "Dir::Cache::Archives": home / "archives",
        "APT::Architecture": debian_arch,
        "APT::Architectures": debian_arch,
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
        "Binary::apt::APT::Keep-Downloaded-Packages": "true",
        "Debug::NoLocking": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _sources(suite: str) -> str:
    """Derive the sources of another suite from the machine's: the same archive, for security updates too."""
    shown = run(
        [
            find("apt-get", remedy=_REMEDY),
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        purpose="asking apt for this machine's sources",
    )
    targets = [tuple(line.split()) for line in shown.splitlines() if line.count(" ") >= 2]  # noqa: PLR2004 - the format's
    codename = _codename(Path("/etc/os-release").read_text())
    archive = next((uri for uri, release, component, *_ in targets if (release, component) == (codename, "main")), None)
    if archive is None:
        raise LayerError(
            f"this machine's apt sources name no Debian archive for {codename or 'its release'!r}: {_REMEDY}"
        )
    security = next((uri for uri, release, *_ in targets if release == f"{codename}-security"), None)
    stanzas = [_stanza(archive, f"{suite} {suite}-updates" if suite == SUITE else suite)]
    if security is not None and suite == SUITE:
        stanzas.append(_stanza(security, f"{suite}-security"))
    return "\n".join(stanzas)


def _codename(os_release: str) -> str:
    found = re.search(r"^VERSION_CODENAME=(\S+)", os_release, re.MULTILINE)
    return found[1] if found else ""


def _stanza(uri: str, suites: str) -> str:
    keyrings = (Path("/", _KEYRING, f"debian-archive-keyring.{suffix}") for suffix in ("pgp", "gpg"))
    keyring = next((keyring for keyring in keyrings if keyring.exists()), None)
    signed = f"Signed-By: {keyring}\n" if keyring else ""
    return f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n{signed}"


def _planned_files(uris: str) -> list[str]:
    """Return the file names of `apt-get --print-uris`: lines of quoted address, file name, size, hash."""
    return [line.split()[1] for line in uris.splitlines() if line.startswith("'")]


def _extract(archive: Path, into: Path) -> Package:
    """Unpack one archive over what is there, following the folders' links of a merged /usr."""
    purpose = f"unpacking {archive.name}"
    dpkg_deb = find("dpkg-deb", remedy=_REMEDY)
    name, version = run([dpkg_deb, "--show", "--showformat=${Package} ${Version}", archive], purpose=purpose).split()
    bundle = into / ".package.tar"
    try:
        script = '"$0" --fsys-tarfile "$1" > "$2" && tar -x --keep-directory-symlink --no-same-owner -f "$2" -C "$3"'
        run(["sh", "-c", script, dpkg_deb, archive, bundle, into], purpose=purpose)
    finally:
        bundle.unlink(missing_ok=True)
    return Package(name, version)
