"""The Dockerfile, really built: without a daemon, by buildah, on base images made here of Debian's packages.

Public images are not pulled: the build stage's base is a stand-in of `python:3.13-slim` (Debian 13 with its Python),
the functions' bases are the roots that the layer is tried in. What is built is the Dockerfile as it is committed.
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
from support.layer_roots import (
    BUILD_SECONDS,
    Entry,
    assert_whole,
    debian_root,
    empty_root,
    main_job,
    musl_root,
    needs_apt,
    needs_root,
)

REPOSITORY = Path(__file__).parents[2]
CERTIFICATES = ("/etc/ssl/certs", "/etc/resolv.conf")
"""What a build step borrows of this machine to reach the package index, where it exists."""
NETWORK_VARIABLES = ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")

pytestmark = [
    needs_root,
    needs_apt,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="no buildah (package buildah)"),
    pytest.mark.slow,
    pytest.mark.timeout(2 * BUILD_SECONDS),
]


class Buildah:
    """buildah with a store of its own, so that nothing is left among this machine's images."""

    def __init__(self, store: Path, driver: str) -> None:
        self._options = ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", driver]

    def __call__(self, *words: str | Path) -> str:
        """Run one command and return its output."""
        command = ["buildah", *self._options, *map(str, words)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def base(self, name: str, root: Path) -> str:
        """Make an image of a folder, and return its name."""
        container = self("from", "scratch")
        self("add", "--quiet", container, root, "/")
        self("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self("commit", "--quiet", "--rm", container, f"localhost/{name}")
        return f"localhost/{name}"

    def build(self, *, target: str, **arguments: str) -> str:
        """Build a stage of the Dockerfile, and return the name of its image."""
        borrowed = [f"--volume={path}:{path}:ro" for path in CERTIFICATES if Path(path).exists()]
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
        self(
            "build", "--quiet", *where, *borrowed, *inherited, *given, f"--file={REPOSITORY / 'Dockerfile'}", REPOSITORY
        )
        return image

    def mounted(self, image: str) -> Path:
        """Return the folder where an image's files can be looked at."""
        return Path(self("mount", self("from", "--pull-never", image)))


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Give a buildah with an empty store, which goes with everything in it."""
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
    """Give a stand-in of the official Python image: Debian 13, where python3 is 3.13."""
    return buildah.base("python", debian_root("trixie", "python3", "python3-venv", "ca-certificates"))


@pytest.fixture(scope="module")
def layer_image(buildah: Buildah, python_image: str) -> str:
    """Build the `layer` stage once."""
    return buildah.build(target="layer", PYTHON_IMAGE=python_image)


def test_the_layer_stage_is_the_tree_and_nothing_else(buildah: Buildah, layer_image: str) -> None:
    """`COPY --from=logferry /opt/ /opt/` brings what the zip would have brought."""
    mounted = buildah.mounted(layer_image)
    assert {path.name for path in mounted.iterdir()} - {"etc", "proc", "sys", "dev", "run"} == {"opt"}
    checks.check(mounted / "opt", python="3.13", arch=native())


def test_the_zip_stage_holds_the_archive(buildah: Buildah, python_image: str, layer_image: str) -> None:
    """`--target zip --output .` leaves the file that `publish-layer-version` takes, made of the same tree."""
    mounted = buildah.mounted(buildah.build(target="zip", PYTHON_IMAGE=python_image))
    archives = list(mounted.glob("*.zip"))
    assert [path.name for path in archives] == [f"logferry-layer-{native().name}.zip"]
    opt = buildah.mounted(layer_image) / "opt"
    with zipfile.ZipFile(archives[0]) as zipped:
        assert set(zipped.namelist()) == {str(path.relative_to(opt)) for path in opt.rglob("*") if path.is_file()}


@pytest.mark.parametrize("base", ["musl", "debian"])
def test_the_test_stage_starts_the_tree_in_the_functions_base_image(
    base: str, buildah: Buildah, python_image: str, layer_image: str
) -> None:
    """What one runs on the own base image before one relies on it."""
    assert layer_image
    root = musl_root() if base == "musl" else debian_root("bullseye")
    buildah.build(target="test", PYTHON_IMAGE=python_image, BASE_IMAGE=buildah.base(base, root))


async def test_records_arrive_from_a_function_image_with_the_one_line(
    buildah: Buildah, layer_image: str, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """A function's own image, with one COPY line more, is shipped: here one that has nothing else in it at all."""
    base = buildah.base("empty", empty_root())
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
    outcome = await main_job(Entry(root, root / "opt", tmp_path / "tmp"), s3=s3, bucket=bucket)
    assert_whole(outcome)
