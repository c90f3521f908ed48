"""`.ci/run` takes the test command from the README, so that both are always the same."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
BLOCK = "```sh\npython3 -m venv .venv &&\n    .venv/bin/python -m pytest\necho done\n```\n"
MARKER = "<!-- ci: test -->\n"


def _commands(folder: Path, readme: str) -> "subprocess.CompletedProcess[str]":
    """Return the result of `.ci/run --print` next to a README."""
    (folder / ".ci").mkdir()
    shutil.copy(SCRIPT, folder / ".ci" / "run")
    (folder / "README.md").write_text(readme)
    return subprocess.run([folder / ".ci" / "run", "--print"], check=False, capture_output=True, text=True)


def test_ci_takes_the_block_after_the_marker(tmp_path: Path) -> None:
    """All lines of the block are one script. Other blocks are ignored."""
    done = _commands(tmp_path, f"# Title\n\n```sh\necho other\n```\n\n{MARKER}{BLOCK}\n```sh\necho last\n```\n")
    assert done.stdout == "python3 -m venv .venv &&\n    .venv/bin/python -m pytest\necho done\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    "readme",
    [
        pytest.param(BLOCK, id="no marker"),
        pytest.param(f"{MARKER}{BLOCK}{MARKER}{BLOCK}", id="two markers"),
        pytest.param(f"{MARKER}text\n\n{BLOCK}", id="text between marker and block"),
        pytest.param(f"{MARKER}```sh\necho open\n", id="no end of the block"),
        pytest.param(f"{MARKER}```sh\n```\n", id="no command"),
    ],
)
def test_ci_fails_for_a_readme_with(readme: str, tmp_path: Path) -> None:
    """A README without exactly one test command is an error, and CI does not pass without tests."""
    done = _commands(tmp_path, readme)
    assert done.returncode == 1
    assert "README.md must contain the line '<!-- ci: test -->' once" in done.stderr
