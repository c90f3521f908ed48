"""The inputs of the builder: found in a checkout and in an installed package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from logferry.layer import inputs
from logferry.layer.subprocesses import LayerError

CHECKOUT = Path(__file__).parents[2]
FILES = (inputs.LAUNCHER, inputs.EXEC_WRAPPER, inputs.SYSTEM_CALLS, inputs.REQUIREMENTS)
NAMES = (*FILES, inputs.HOOKS)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_found_in_a_checkout(name: str) -> None:
    """An editable installation uses the files of the checkout."""
    assert inputs.find(name) == CHECKOUT / name


def test_input_is_found_in_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the package precedes the checkout."""
    (tmp_path / inputs.LAUNCHER).parent.mkdir()
    (tmp_path / inputs.LAUNCHER).touch()
    monkeypatch.setattr(inputs, "DATA", tmp_path)
    assert inputs.find(inputs.LAUNCHER) == tmp_path / inputs.LAUNCHER


def test_input_is_reported_if_it_is_missing() -> None:
    """The message contains the name and the remedy."""
    with pytest.raises(LayerError, match=r"extension/missing\.c is missing in .*; install logferry again"):
        inputs.find("extension/missing.c")


@pytest.mark.slow
def test_wheel_contains_every_input(tmp_path: Path) -> None:
    """`pip install '.[layer]'` followed by `logferry layer build` works, because the wheel contains the inputs."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(CHECKOUT)], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        hooks = [path for path in (CHECKOUT / inputs.HOOKS).rglob("*.*") if "__pycache__" not in path.parts]
        assert hooks
        for name in (*FILES, *(path.relative_to(CHECKOUT).as_posix() for path in hooks)):
            assert wheel.read(f"logferry/layer/data/{name}") == (CHECKOUT / name).read_bytes()
