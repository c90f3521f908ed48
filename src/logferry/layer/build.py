"""The steps of a build: an interpreter, the wheels and logferry become `/opt` and a zip.

Guarantees:
- The files under `output` are replaced only after the new tree has passed all checks and the smoke
  test.
- The bytes depend on the inputs only: the pinned wheels, the versions of Debian's packages, the
  sources of logferry, and the interpreters that compile the Python hook.

Design: the order of the steps matters. Licences are read before pruning removes them. Libraries are
collected after pruning, so that the tree has none for a removed module. Symbols are removed after
patchelf, which needs section headers. Bytecode is compiled after that, because its compiler is the
interpreter of the finished tree. The hooks follow, because their sources stay for other versions of Python.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import logferry
from logferry.layer import (
    archive,
    bytecode,
    checks,
    hook_interpreters,
    inputs,
    libraries,
    notice,
    programs,
    smoke_test,
    standard_library,
    start_check,
    wheels,
    wrapper_check,
)
from logferry.layer import slim as slim_layer
from logferry.layer.architecture import ARCHITECTURES, HOME, Architecture, native
from logferry.layer.interpreter import Interpreter, from_debian, from_prefix
from logferry.layer.subprocesses import LayerError

_NOT_IN_THE_LAYER = ("cli", "emulator", "layer", "boot.py", "__pycache__", "py.typed", "*.md")
"""Files of the package that the extension's processes never import. boot.py is copied to the root
of the tree."""


@dataclass(frozen=True)
class LayerReport:
    """Description of a built layer."""

    arch: str
    slim: bool
    """Whether the AWS SDK is left out."""
    python: str
    tree: Path
    """Folder with the content of `/opt`."""
    archive: Path
    sha256: str
    files: int
    parts: tuple[tuple[str, int], ...]
    """Size of each part in bytes, largest first."""
    archive_bytes: int
    hook_versions: tuple[str, ...]
    """Versions of Python for which the hook has bytecode."""

    @property
    def tree_bytes(self) -> int:
        """Size of all files in bytes, unzipped."""
        return sum(size for _, size in self.parts)


def build_layer(
    *,
    output: Path,
    arch: str,
    slim: bool = False,
    interpreter: Path | None = None,
    hook_pythons: Sequence[Path] = (),
    report_step: Callable[[str], None] = lambda _: None,
) -> LayerReport:
    """Build `output/opt` and `output/logferry-layer-<arch>.zip` (slim: `logferry-layer-slim-<arch>.zip`).

    `interpreter` is the prefix of a CPython of this machine; by default Debian's is downloaded. `hook_pythons` are
    interpreters that compile the Python hook, in addition to those on PATH.
    `report_step` receives the name of each step. Raises LayerError with the cause and the remedy;
    the files under `output` are then unchanged.
    """
    if arch not in ARCHITECTURES:
        raise LayerError(f"Lambda has no architecture {arch!r}; choose {' or '.join(ARCHITECTURES)}")
    hook_compilers = hook_interpreters.find_interpreters(hook_pythons)
    output = output.resolve()  # the checks run programs of the tree in other directories
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=output) as folder:
        work = Path(folder)
        opt, python = _build_tree(
            work, ARCHITECTURES[arch], interpreter, hook_compilers, slim=slim, report_step=report_step
        )
        packed = work / f"logferry-layer-{'slim-' if slim else ''}{arch}.zip"
        report_step("zip")
        archive.write(opt, packed)
        checks.check_archive_size(packed, limit=size_limits(slim=slim).archive)
        tree = output / "opt"
        if tree.exists():
            shutil.rmtree(tree)
        return _report(
            opt.rename(tree),
            packed.rename(output / packed.name),
            arch=arch,
            slim=slim,
            python=python,
            hook_versions={python, *hook_compilers},
        )


def size_limits(*, slim: bool) -> checks.SizeLimits:
    """Return the size limits of a layer."""
    return checks.SLIM if slim else checks.FULL


def _build_tree(
    work: Path,
    arch: Architecture,
    prefix: Path | None,
    hook_compilers: Mapping[str, Path],
    *,
    slim: bool,
    report_step: Callable[[str], None],
) -> tuple[Path, str]:
    """Build the tree in `work/opt`, check it, and return it with the version of its Python."""
    opt = work / "opt"
    home = opt / HOME.name
    python = _interpreter(arch, prefix, work / "interpreter", report_step)
    for part in (opt / "extensions", home / "bin", home / "lib"):
        part.mkdir(parents=True)
    report_step(f"standard library of Python {python.version}, wheels")
    shutil.copyfile(python.executable, home / f"bin/python{python.version}")
    standard_library.copy(python.standard_library, home / f"lib/python{python.version}")
    _install_packages(home, python, arch, work, slim=slim)
    _copy_logferry(home)
    report_step("libraries, bytecode, programs")
    libraries.collect(home, search=python.libraries, arch=arch)
    libraries.relink(home, python=python.version, arch=arch)
    compiler = _compiler(home, python, arch, work, report_step)
    bytecode.compile_tree(home, compiler=compiler)
    executed = f"{HOME}/bin/python{python.version}"
    programs.build_launcher(inputs.find(inputs.LAUNCHER), interpreter=executed, arch=arch, to=opt / checks.LAUNCHER)
    programs.build_exec_wrapper(inputs.find(inputs.EXEC_WRAPPER), arch=arch, to=opt / checks.EXEC_WRAPPER)
    _copy_hooks(home)
    # The layer's own interpreter compiles for its version, so that these bytes are those of the pinned package.
    others = {version: [path] for version, path in hook_compilers.items()}
    bytecode.compile_hooks(opt / checks.HOOKS / "python", compilers=others | {python.version: compiler})
    _set_modes(opt)
    report_step("checks")
    checks.check(opt, python=python.version, arch=arch, limits=size_limits(slim=slim))
    if arch.is_native:
        smoke_test.run_smoke_test(home, python=python.version, arch=arch, slim=slim)
        start_check.check_start(home, python=python.version, arch=arch, work=work)
        wrapper_check.check_wrapper(opt, python=python.version, arch=arch)
    return opt, python.version


def _interpreter(
    arch: Architecture, prefix: Path | None, into: Path, report_step: Callable[[str], None]
) -> Interpreter:
    if prefix is not None:
        return from_prefix(prefix, arch)
    return from_debian(arch, into=into, report_step=report_step)


def _compiler(
    home: Path, python: Interpreter, arch: Architecture, work: Path, report_step: Callable[[str], None]
) -> list[str]:
    """Return the command of an interpreter of the layer's version that runs on this machine.

    It is the interpreter of the tree, or the same release for this machine: bytecode is equal for
    all architectures.
    """
    if arch.is_native:
        return smoke_test.command(home, python=python.version, arch=arch)
    here = native()
    interpreter = from_debian(here, into=work / "compiler", report_step=report_step)
    library_path = ":".join(str(folder) for folder in interpreter.libraries)
    loader = next(folder / here.loader for folder in interpreter.libraries if (folder / here.loader).exists())
    executable = str(interpreter.executable)
    return [str(loader), "--inhibit-cache", "--library-path", library_path, "--argv0", executable, executable]


def _install_packages(home: Path, python: Interpreter, arch: Architecture, work: Path, *, slim: bool) -> None:
    """Install the third-party packages, write NOTICE, and remove files that the layer does not use."""
    site = home / "site"
    wheels.install(inputs.find(inputs.REQUIREMENTS), python=python.version, arch=arch, into=site, work=work)
    owners_of_kept_files: list[notice.Component] = []
    if slim:
        owners_of_kept_files += notice.of_wheels(site, slim_layer.CA_BUNDLE_OWNER)
        slim_layer.remove_optional(site, markers=wheels.marker_environment(python=python.version, arch=arch))
    (home / "NOTICE").write_text(_notice(python, site, owners_of_kept_files), encoding="utf-8")
    wheels.prune(site)


def _copy_logferry(home: Path) -> None:
    """Copy logferry into the folder of the wheels, and its entry module to the root of the tree."""
    package = Path(logferry.__file__).parent
    shutil.copytree(package, home / "site/logferry", ignore=shutil.ignore_patterns(*_NOT_IN_THE_LAYER))
    shutil.copyfile(package / "supervisor" / "boot.py", home / "main.py")


def _copy_hooks(home: Path) -> None:
    """Copy the hooks unchanged, after the bytecode: interpreters of the function execute them, of any version."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(inputs.find(inputs.HOOKS), home / checks.HOOKS.name, ignore=ignored)


def _notice(python: Interpreter, site: Path, more: Iterable[notice.Component]) -> str:
    licence = python.standard_library / "LICENSE.txt"
    cpython = [notice.Component("CPython", (licence.read_text("utf-8"),))] if licence.is_file() else []
    components = [*cpython, *notice.of_debian(python.documentation), *notice.of_wheels(site), *more]
    return notice.compose(home=str(HOME), provenance=python.provenance, components=components)


def _set_modes(opt: Path) -> None:
    """Set the mode of each file, without regard to umask and wheels: folders and programs are executable."""
    for path in sorted(opt.rglob("*")):
        is_program = path.parent.name in ("bin", "extensions") or path.name.startswith("ld-linux")
        is_program = is_program or path == opt / checks.EXEC_WRAPPER
        path.chmod(libraries.PROGRAM_MODE if path.is_dir() or is_program else libraries.FILE_MODE)


def _report(
    tree: Path, packed: Path, *, arch: str, slim: bool, python: str, hook_versions: Container[str]
) -> LayerReport:
    sizes: dict[str, int] = {}
    files = [path for path in tree.rglob("*") if path.is_file()]
    for path in files:
        words = path.relative_to(tree).parts
        depth = 3 if len(words) > 3 and words[1] in ("site", "lib") else 2  # noqa: PLR2004 - packages apart, files together
        sizes["/".join(words[:depth])] = sizes.get("/".join(words[:depth]), 0) + path.stat().st_size
    return LayerReport(
        arch=arch,
        slim=slim,
        python=python,
        tree=tree,
        archive=packed,
        sha256=hashlib.sha256(packed.read_bytes()).hexdigest(),
        files=len(files),
        parts=tuple(sorted(sizes.items(), key=lambda part: (-part[1], part[0]))),
        archive_bytes=packed.stat().st_size,
        hook_versions=tuple(version for version in hook_interpreters.VERSIONS if version in hook_versions),
    )
