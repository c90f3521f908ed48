"""Download of Debian packages, unpacked but not installed, for any architecture and suite.

Guarantees:
- The machine's package database is neither read nor written, and no root privileges are needed.
- Signatures of the archive are verified.
- An index that cannot be read completely ends the build. By default apt-get reports success with a
  missing index.
- Downloaded packages stay in the user's cache folder, so a second build downloads only the index.

Design: apt runs with a separate configuration in a private folder. Its sources are derived from the
sources of the machine: the same archive with another suite.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logferry.layer.subprocesses import LayerError, find, run

SUITE = "trixie"
"""Debian 13, the oldest suite whose Python is new enough: CPython 3.13 with profile-guided
optimisation, glibc 2.41."""

_REMEDY = "build on Debian (in a container, for example), or name an interpreter with --interpreter"
_KEYRING = "usr/share/keyrings"
"""Folder of the archive's keys, relative to the root."""


@dataclass(frozen=True)
class Package:
    """One unpacked package."""

    name: str
    version: str


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return logferry's folder in the user's cache (XDG Base Directory Specification)."""
    base = environment.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "logferry"


def unpack(
    names: Sequence[str],
    *,
    suite: str,
    debian_arch: str,
    into: Path,
    cache: Path | None = None,
    report_step: Callable[[str], None] = lambda _: None,
) -> list[Package]:
    """Unpack packages and their dependencies into a folder; return the unpacked packages sorted by name.

    Raises LayerError if this machine has no apt, its sources name no Debian archive, or a download
    fails.
    """
    apt_get = find("apt-get", remedy=_REMEDY)
    home = (cache or cache_folder()) / "debian" / f"{suite}-{debian_arch}"
    options = _private_configuration(home, suite=suite, debian_arch=debian_arch)
    run([apt_get, *options, "-qq", "update"], purpose=f"reading the index of Debian {suite}")
    plan = [apt_get, *options, "-qq", "-y", "--no-install-recommends", "install", *names]
    # With an empty archive folder apt lists every file, and not only those that are not downloaded yet.
    empty_archive = ["-o", f"Dir::Cache::Archives={home / 'empty'}", "--print-uris"]
    files = _planned_files(run([*plan, *empty_archive], purpose=f"resolving {' '.join(names)} in Debian {suite}"))
    report_step(f"{len(files)} packages of Debian {suite} ({debian_arch})")
    run([*plan, "--download-only"], purpose=f"downloading {' '.join(names)} from Debian {suite}")
    into.mkdir(parents=True, exist_ok=True)
    return [_extract(home / "archives" / file, into) for file in sorted(files)]


def _private_configuration(home: Path, *, suite: str, debian_arch: str) -> list[str]:
    """Create apt's folders and return the options that restrict apt to them."""
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
        "APT::Update::Error-Mode": "any",
        "Acquire::Retries": "3",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
        "Binary::apt::APT::Keep-Downloaded-Packages": "true",
        "Debug::NoLocking": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _sources(suite: str) -> str:
    """Return the sources of another suite: the archive of this machine, with its security updates."""
    shown = run(
        [
            find("apt-get", remedy=_REMEDY),
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        purpose="reading the sources of apt",
    )
    targets = [tuple(line.split()) for line in shown.splitlines() if line.count(" ") >= 2]  # noqa: PLR2004 - three fields
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
    """Return the file names in `apt-get --print-uris`. Each line has a quoted address, file name, size and hash."""
    return [line.split()[1] for line in uris.splitlines() if line.startswith("'")]


def _extract(archive: Path, into: Path) -> Package:
    """Unpack one archive into a folder that has files already. Links to folders, as in a merged /usr, are followed."""
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
