"""Stand-ins for modules that nobody uses: what imports them works, and what would use them fails at once."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import logferry
from logferry import absent

SECONDS = 60
PATHS = [str(Path(logferry.__file__).parents[1]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
AS_THE_SHIPPER_LOADS = f"""
import json, os, sys
sys.path.extend({PATHS!r})
from logferry import app
from logferry.absent import ABSENT
from logferry.pause import Pause
app._load(app.Settings.from_environ(os.environ), Pause())
print(json.dumps({{
    "stand-ins": [name for name in ABSENT if type(sys.modules.get(name)).__name__ == "_StandIn"],
    "left": [type(finder).__name__ for finder in sys.meta_path if type(finder).__module__.startswith("logferry")],
    "there": [name for name in ("s3transfer", "multiprocessing", "botocore.docs.bcdoc") if name in sys.modules],
}}))
"""


def test_each_of_them_is_still_asked_for_by_what_the_shipper_loads() -> None:
    """A name that a new version of a library no longer imports is to go from the list; what hangs on them stays out."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", AS_THE_SHIPPER_LOADS],
        env={"PATH": os.defpath, "LOGFERRY_DESTINATION": "s3://bucket", "AWS_REGION": "us-east-1"},
        capture_output=True, text=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"stand-ins": list(absent.ABSENT), "left": [], "there": []}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a package that is only there as a stand-in."""
    monkeypatch.setattr(absent, "ABSENT", ("nowhere_at_all",))
    for name in ("nowhere_at_all", "nowhere_at_all.below"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "nowhere_at_all"


def test_what_imports_a_stand_in_gets_classes_that_take_anything(nowhere: str) -> None:
    """Importers make subclasses and instances of what they import when they are imported themselves."""
    with absent.standing_in():
        module = importlib.import_module(nowhere + ".below")
    made = type("Theirs", (module.Documenter,), {})(1, name=2)
    assert isinstance(made, module.Documenter)


def test_what_would_use_one_fails(nowhere: str) -> None:
    """At once and by name, not with a wrong result; and nobody takes it for a module with a file."""
    with absent.standing_in():
        module = importlib.import_module(nowhere)
    with pytest.raises(AttributeError, match="Documenter"):
        module.Documenter().document()
    with pytest.raises(AttributeError):
        _ = module.__file__


def test_outside_there_are_none(nowhere: str) -> None:
    """A missing library is missed."""
    with absent.standing_in():
        pass
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(nowhere)
    with absent.standing_in(), pytest.raises(ModuleNotFoundError):
        importlib.import_module(nowhere + "_but_longer")
