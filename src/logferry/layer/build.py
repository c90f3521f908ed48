"""The conductor: an interpreter, the wheels and logferry become `/opt` and a zip, or a LayerError says why not.

The order matters where it looks arbitrary. The licences are read before pruning takes them; libraries are collected
after pruning, so that none comes for a module that goes; symbols go after patchelf, which needs section headers;
bytecode is last, as its compiler is the finished tree's own interpreter. What is under `output` is replaced only by
what has passed every gate.

The bytes depend on the inputs alone: the pinned wheels, the versions of Debian's packages, logferry's sources.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import logferry
from logferry.layer import archive, bytecode, checks, launcher, libraries, notice, smoke_test, standard_library, wheels
from logferry.layer.architecture import ARCHITECTURES, HOME, Architecture, native
from logferry.layer.interpreter import Interpreter, from_debian, from_prefix
from logferry.layer.subprocesses import LayerError

_NOT_IN_THE_LAYER = ("cli", "emulator", "layer", "boot.py", "__pycache__", "py.typed")
"""Of our own package: what the extension's processes never import. boot.py goes to the tree's root."""


@dataclass(frozen=True)
class LayerReport:
    """What was built."""

    arch: str
    python: str
    tree: Path
    """The folder to be copied to `/opt`."""
    archive: Path
    sha256: str
    files: int
    parts: tuple[tuple[str, int], ...]
    """Bytes by part, largest first."""
    archive_bytes: int

    @property
    def tree_bytes(self) -> int:
        """Bytes of all files, unzipped."""
        return sum(size for _, size in self.parts)


def build_layer(
    *, output: Path, arch: str, interpreter: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> LayerReport:
    """Build `output/opt` and `output/logferry-layer-<arch>.zip`.

    `interpreter` is the prefix of a CPython of this machine; without it Debian's is fetched. `say` is told each step.
    Raises LayerError with what is missing or wrong; then nothing under `output` has changed.
    """
    if arch not in ARCHITECTURES:
        raise LayerError(f"Lambda has no architecture {arch!r}: choose {' or '.join(ARCHITECTURES)}")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=output) as folder:
        work = Path(folder)
        opt, python = _build_tree(work, ARCHITECTURES[arch], interpreter, say)
        packed = work / f"logferry-layer-{arch}.zip"
        say("packing")
        archive.write(opt, packed)
        checks.size_of_archive(packed)
        tree = output / "opt"
        if tree.exists():
            shutil.rmtree(tree)
        return _report(opt.rename(tree), packed.rename(output / packed.name), arch=arch, python=python)


def _build_tree(work: Path, arch: Architecture, prefix: Path | None, say: Callable[[str], None]) -> tuple[Path, str]:
    """Build the tree below `work/opt`, pass it through the gates, and return it with its Python's version."""
    opt = work / "opt"
    home = opt / HOME.name
    python = _obtain(arch, prefix, work / "interpreter", say)
    for part in (opt / "extensions", home / "bin", home / "lib"):
        part.mkdir(parents=True)
    say(f"Python {python.version}: its standard library and the wheels")
    shutil.copyfile(python.executable, home / f"bin/python{python.version}")
    standard_library.copy(python.standard_library, home / f"lib/python{python.version}")
    wheels.install(
        _input(".requirements/extension.txt"), python=python.version, arch=arch, into=home / "site", work=work
    )
    (home / "NOTICE").write_text(_notice(python, home / "site"), encoding="utf-8")
    wheels.prune(home / "site")
    _copy_logferry(home)
    say("libraries, bytecode, launcher")
    libraries.collect(home, search=python.libraries, arch=arch)
    libraries.relink(home, python=python.version, arch=arch)
    bytecode.compile_tree(home, compiler=_compiler(home, python, arch, work, say))
    started = f"{HOME}/bin/python{python.version}"
    launcher.build(_input("extension/launcher.c"), interpreter=started, arch=arch, to=opt / checks.LAUNCHER)
    _set_modes(opt)
    say("gates")
    checks.check(opt, python=python.version, arch=arch)
    if arch.is_native:
        smoke_test.rehearse(home, python=python.version, arch=arch)
    return opt, python.version


def _obtain(arch: Architecture, prefix: Path | None, into: Path, say: Callable[[str], None]) -> Interpreter:
    if prefix is not None:
        return from_prefix(prefix, arch)
    return from_debian(arch, into=into, say=say)


def _compiler(home: Path, python: Interpreter, arch: Architecture, work: Path, say: Callable[[str], None]) -> list[str]:
    """Return the command of an interpreter of the layer's version that runs here: the tree's own, or its native sister.

    Bytecode is the same for every machine, so a foreign layer is compiled by the same release for this one.
    """
    if arch.is_native:
        return smoke_test.command(home, python=python.version, arch=arch)
    here = native()
    sister = from_debian(here, into=work / "compiler", say=say)
    library_path = ":".join(str(folder) for folder in sister.libraries)
    loader = next(folder / here.loader for folder in sister.libraries if (folder / here.loader).exists())
    return [
        str(loader),
        "--inhibit-cache",
        "--library-path",
        library_path,
        "--argv0",
        str(sister.executable),
        str(sister.executable),
    ]


def _copy_logferry(home: Path) -> None:
    """Put our own package beside the wheels, and its entry at the root of the tree."""
    package = Path(logferry.__file__).parent
    shutil.copytree(package, home / "site/logferry", ignore=shutil.ignore_patterns(*_NOT_IN_THE_LAYER))
    shutil.copyfile(package / "supervisor" / "boot.py", home / "main.py")


def _notice(python: Interpreter, site: Path) -> str:
    own = python.standard_library / "LICENSE.txt"
    texts = [notice.Component("CPython", (own.read_text("utf-8"),))] if own.is_file() else []
    components = [*texts, *notice.of_debian(python.documentation), *notice.of_wheels(site)]
    return notice.compose(home=str(HOME), provenance=python.provenance, components=components)


def _set_modes(opt: Path) -> None:
    """Make folders and programs executable and all else plain, whatever umask and wheels have left."""
    for path in sorted(opt.rglob("*")):
        is_program = path.parent.name in ("bin", "extensions") or path.name.startswith("ld-linux")
        path.chmod(libraries.PROGRAM_MODE if path.is_dir() or is_program else libraries.FILE_MODE)


def _input(name: str) -> Path:
    """Return a file of the checkout; LayerError where there is none, as in an installed wheel."""
    path = Path(logferry.__file__).parents[2] / name
    if not path.is_file():
        raise LayerError(
            f"{name} is not beside the package: build the layer from a checkout of logferry (pip install -e .)"
        )
    return path


def _report(tree: Path, packed: Path, *, arch: str, python: str) -> LayerReport:
    sizes: dict[str, int] = {}
    files = [path for path in tree.rglob("*") if path.is_file()]
    for path in files:
        words = path.relative_to(tree).parts
        depth = 3 if words[1] in ("site", "lib") and len(words) > 3 else 2  # noqa: PLR2004 - packages apart, files together
        sizes["/".join(words[:depth])] = sizes.get("/".join(words[:depth]), 0) + path.stat().st_size
    return LayerReport(
        arch=arch,
        python=python,
        tree=tree,
        archive=packed,
        sha256=hashlib.sha256(packed.read_bytes()).hexdigest(),
        files=len(files),
        parts=tuple(sorted(sizes.items(), key=lambda part: (-part[1], part[0]))),
        archive_bytes=packed.stat().st_size,
    )
