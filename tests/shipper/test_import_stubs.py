"""Stand-ins for modules that nobody uses: what imports them works, and what would use them fails at once."""

from __future__ import annotations

import importlib
import sys

import pytest

from logferry.shipper import import_stubs


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a package that is only there as a stand-in."""
    monkeypatch.setattr(import_stubs, "ABSENT", ("nowhere_at_all",))
    for name in ("nowhere_at_all", "nowhere_at_all.below"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "nowhere_at_all"


def test_what_imports_a_stand_in_gets_classes_that_take_anything(nowhere: str) -> None:
    """Importers make subclasses and instances of what they import when they are imported themselves."""
    with import_stubs.standing_in():
        module = importlib.import_module(nowhere + ".below")
    made = type("Theirs", (module.Documenter,), {})(1, name=2)
    assert isinstance(made, module.Documenter)


def test_what_would_use_one_fails(nowhere: str) -> None:
    """At once and by name, not with a wrong result; and nobody takes it for a module with a file."""
    with import_stubs.standing_in():
        module = importlib.import_module(nowhere)
    with pytest.raises(AttributeError, match="Documenter"):
        module.Documenter().document()
    with pytest.raises(AttributeError):
        _ = module.__file__


def test_outside_there_are_none(nowhere: str) -> None:
    """A missing library is missed."""
    with import_stubs.standing_in():
        pass
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(nowhere)
    with import_stubs.standing_in(), pytest.raises(ModuleNotFoundError):
        importlib.import_module(nowhere + "_but_longer")
