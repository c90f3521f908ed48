"""The Dockerfile, built without a daemon by buildah, on base images that are made from Debian's packages.

Public images are not pulled. The base of the build stage is a stand-in for `python:3.13-slim`
(Debian 13 with its Python), and the bases of the functions are the roots of the other tests. The
Dockerfile is used unchanged.
"""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.emulator.s3_server import S3Server
from logferry.layer import checks
from logferry.layer.architecture import native
from support import layer_roots as roots
from support.layer_roots import BUILD_SECONDS, Entry, debian_root

REPOSITORY = Path(__file__).parents[2]
CERTIFICATES = ("/etc/ssl/certs", "/etc/resolv.conf")
"""Files of this machine, if they exist, that a build step needs to reach the package index."""
NETWORK_VARIABLES = ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")

pytestmark = [
    roots.needs_root,
    roots.needs_apt,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="no buildah (package buildah)"),
    pytest.mark.slow,
    pytest.mark.timeout(2 * BUILD_SECONDS),
]


class Buildah:
    """buildah with a separate store, so that no image of this machine is added or changed."""

    def __init__(self, store: Path, driver: str) -> None:
        self._options = ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", driver]

    def __call__(self, *words: str | Path) -> str:
        """Run one command and return its output."""
        command = ["buildah", *self._options, *map(str, words)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def base(self, name: str, root: Path) -> str:
        """Create an image from a folder, and return its name."""
        container = self("from", "scratch")
        self("add", "--quiet", container, root, "/")
        self("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self("commit", "--quiet", "--rm", container, f"localhost/{name}")
        return f"localhost/{name}"

    def build(self, *, target: str, **arguments: str) -> str:
        """Build a stage of the Dockerfile, and return the name of its image."""
        shared = [f"--volume={path}:{path}:ro" for path in CERTIFICATES if Path(path).exists()]
        inherited = [f"--env={name}={os.environ[name]}" for name in NETWORK_VARIABLES if name in os.environ]
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        image = f"localhost/{target}"
        where = [
            "--isolation=chroot",
            "--network=host",
            "--pull-never",
            "--layers",
            f"--target={target}",
            f"--tag={image}",
        ]
        self("build", "--quiet", *where, *shared, *inherited, *given, f"--file={REPOSITORY / 'Dockerfile'}", REPOSITORY)
        return image

    def mounted(self, image: str) -> Path:
        """Return a folder with the files of an image."""
        return Path(self("mount", self("from", "--pull-never", image)))


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Give a buildah with an empty store, which is removed after the tests."""
    store = tmp_path_factory.mktemp("images")
    tool = Buildah(store, "overlay")
    probe = subprocess.run(["buildah", *tool._options, "from", "scratch"], check=False, capture_output=True)
    if probe.returncode != 0:
        tool = Buildah(store, "vfs")
    yield tool
    tool("umount", "--all")
    tool("rm", "--all")
    tool("rmi", "--all", "--force")
    shutil.rmtree(store, ignore_errors=True)


@pytest.fixture(scope="module")
def python_image(buildah: Buildah) -> str:
    """Return a stand-in for the official Python image: Debian 13, whose python3 is 3.13."""
    # The official image has libstdc++, because apt needs it.
    return buildah.base("python", debian_root("trixie", "python3", "python3-venv", "ca-certificates", "libstdc++6"))


@pytest.fixture(scope="module")
def layer_image(buildah: Buildah, python_image: str) -> str:
    """Build the `layer` stage once."""
    return buildah.build(target="layer", PYTHON_IMAGE=python_image)


def test_layer_stage_contains_only_the_tree(buildah: Buildah, layer_image: str) -> None:
    """`COPY --from=logferry /opt/ /opt/` copies the same files as the zip contains."""
    mounted = buildah.mounted(layer_image)
    assert {path.name for path in mounted.iterdir()} - {"etc", "proc", "sys", "dev", "run"} == {"opt"}
    checks.check(mounted / "opt", python="3.13", arch=native())


def test_zip_stage_contains_the_archive(buildah: Buildah, python_image: str, layer_image: str) -> None:
    """`--target zip --output .` writes the file for `publish-layer-version`, with the same tree."""
    mounted = buildah.mounted(buildah.build(target="zip", PYTHON_IMAGE=python_image))
    archives = list(mounted.glob("*.zip"))
    assert [path.name for path in archives] == [f"logferry-layer-{native().name}.zip"]
    opt = buildah.mounted(layer_image) / "opt"
    with zipfile.ZipFile(archives[0]) as zipped:
        assert set(zipped.namelist()) == {str(path.relative_to(opt)) for path in opt.rglob("*") if path.is_file()}


@pytest.mark.parametrize("base", ["musl", "debian"])
def test_test_stage_starts_the_tree_in_a_base_image(
    base: str, buildah: Buildah, python_image: str, layer_image: str
) -> None:
    """The stage shows whether the layer starts in the base image of a function."""
    assert layer_image
    root = roots.musl_root() if base == "musl" else debian_root("bullseye")
    buildah.build(target="test", PYTHON_IMAGE=python_image, BASE_IMAGE=buildah.base(base, root))


async def test_records_arrive_from_a_function_image_with_the_copy_line(
    buildah: Buildah, layer_image: str, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """A function's image needs one more line, COPY. This image contains no other file."""
    base = buildah.base("empty", roots.empty_root())
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {layer_image} AS logferry\nFROM {base}\nCOPY --from=logferry /opt/ /opt/\n")
    buildah(
        "build",
        "--quiet",
        "--isolation=chroot",
        "--pull-never",
        "--tag=localhost/function",
        f"--file={dockerfile}",
        tmp_path,
    )
    root = buildah.mounted("localhost/function")
    (tmp_path / "tmp").mkdir()
    await roots.assert_records_arrive(Entry(root, root / "opt", tmp_path / "tmp"), s3=s3, bucket=bucket)
