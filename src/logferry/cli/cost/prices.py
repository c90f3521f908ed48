"""The prices of AWS: data in ``prices.toml``, each with its unit, region, date and source, and what replaces them.

Promises
  * A price is never guessed: it stands in the file that comes with the package, or in the one that the user names.
  * All mistakes in a user's file are found at once, and each says its remedy.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FIELDS = {"tiers", "unit", "region", "date", "source"}


class PriceError(Exception):
    """A file of prices cannot be used; ``mistakes`` names everything that is wrong with it."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Price:
    """What a thing costs: USD per ``unit``, in tiers of (units a month up to which it holds, USD), cheapest last."""

    tiers: tuple[tuple[float, float], ...]
    unit: str
    region: str
    date: str
    source: str

    def of(self, units: float) -> float:
        """USD for so many units in a month, were they the account's only ones."""
        usd, below = 0.0, 0.0
        for up_to, price in self.tiers:
            usd += price * (min(units, up_to) - below)
            below = up_to
            if units <= up_to:
                break
        return usd


def load(file: Path | None = None) -> Mapping[str, Price]:
    """Every price by its name; those in ``file`` replace the package's own. Raises PriceError."""
    known = tomllib.loads(resources.files(__package__).joinpath("prices.toml").read_text())
    prices = {name: _price(table) for name, table in known.items()}
    if file is None:
        return prices
    given = _read(file)
    mistakes = [f"{file}: {mistake}" for name in given for mistake in _mistakes(name, given[name], prices)]
    if mistakes:
        raise PriceError(mistakes)
    return prices | {name: _price(_unsaid(file, prices[name].unit) | table) for name, table in given.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise PriceError([f"{file} cannot be read ({error.strerror}): name a TOML file"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PriceError([f"{file} is not TOML ({error}): write it as logferry/cli/cost/prices.toml is"]) from error


def _mistakes(name: str, table: Any, known: Mapping[str, Price]) -> list[str]:
    if name not in known:
        return [f"there is no price {name!r}; there are {', '.join(sorted(known))}"]
    if not isinstance(table, dict) or not _are_tiers(table.get("tiers")):
        form = "tiers = [{ usd = 0.5, up_to = 10240 }, { usd = 0.25 }]"
        return [f"{name} needs {form}: none below zero, each up_to above the one before, the last without"]
    mistakes = [f"{name} has no field {field!r}: leave it out" for field in sorted(set(table) - _FIELDS)]
    if table.get("unit", known[name].unit) != known[name].unit:
        mistakes.append(f"{name} is counted in {known[name].unit}, not in {table['unit']}: convert the price")
    return mistakes


def _are_tiers(tiers: Any) -> bool:
    if not isinstance(tiers, list) or not tiers or not all(_is_tier(tier) for tier in tiers):
        return False
    ends = [tier.get("up_to", math.inf) for tier in tiers]
    return ends == sorted(set(ends)) and math.isinf(ends[-1]) and "up_to" not in tiers[-1]


def _is_tier(tier: Any) -> bool:
    if not isinstance(tier, dict) or not {"usd"} <= set(tier) <= {"usd", "up_to"}:
        return False
    return all(type(value) in {int, float} and 0 <= value < math.inf for value in tier.values())


def _unsaid(file: Path, unit: str) -> dict[str, Any]:
    return {"unit": unit, "region": "unsaid", "date": "unsaid", "source": str(file)}


def _price(table: Mapping[str, Any]) -> Price:
    return Price(
        tiers=tuple((tier.get("up_to", math.inf), tier["usd"]) for tier in table["tiers"]),
        unit=table["unit"],
        region=table["region"],
        date=str(table["date"]),
        source=table["source"],
    )
