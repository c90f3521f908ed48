"""AWS prices, each with its unit, region, date and source: the package's and the user's.

Guarantees:
- Each price comes from the file in the package or from the user's file. None is a constant in the
  code.
- All mistakes in the user's file are reported at once, each with its remedy.
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
    """An invalid price file; `mistakes` lists all its faults."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Price:
    """A price in USD per `unit`.

    A tier is an upper limit in units per month and a price. The last tier is unlimited.
    """

    tiers: tuple[tuple[float, float], ...]
    unit: str
    region: str
    date: str
    source: str

    def of(self, units: float) -> float:
        """Return the USD for a number of units in a month, if the account has no others."""
        usd, below = 0.0, 0.0
        for up_to, price in self.tiers:
            usd += price * (min(units, up_to) - below)
            below = up_to
            if units <= up_to:
                break
        return usd


def load(file: Path | None = None) -> Mapping[str, Price]:
    """Return each price by its name. Those in `file` replace the package's. Raise PriceError."""
    prices = _packaged("prices.toml")
    if file is None:
        return prices
    given = _read(file)
    mistakes = [f"{file}: {mistake}" for name in given for mistake in _mistakes(name, given[name], prices)]
    if mistakes:
        raise PriceError(mistakes)
    return prices | {name: _price(_unstated(file, prices[name].unit) | table) for name, table in given.items()}


def load_reading() -> Mapping[str, Price]:
    """Return the prices of the commands that read stored records."""
    return _packaged("reading_prices.toml")


def _packaged(file: str) -> dict[str, Price]:
    known = tomllib.loads(resources.files(__package__).joinpath(file).read_text())
    return {name: _price(table) for name, table in known.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise PriceError([f"cannot read {file} ({error.strerror}): give a TOML file"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PriceError([f"{file} is not valid TOML ({error}): see logferry/cli/cost/prices.toml"]) from error


def _mistakes(name: str, table: Any, known: Mapping[str, Price]) -> list[str]:
    if name not in known:
        return [f"unknown price {name!r}: use {', '.join(sorted(known))}"]
    if not isinstance(table, dict) or not _are_tiers(table.get("tiers")):
        form = "tiers = [{ usd = 0.5, up_to = 10240 }, { usd = 0.25 }]"
        return [f"{name} needs {form}: prices of at least 0, increasing limits, and no limit for the last tier"]
    mistakes = [f"{name} has no field {field!r}: remove it" for field in sorted(set(table) - _FIELDS)]
    if table.get("unit", known[name].unit) != known[name].unit:
        mistakes.append(f"{name} has the unit {known[name].unit}, not {table['unit']}: convert the price")
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


def _unstated(file: Path, unit: str) -> dict[str, Any]:
    return {"unit": unit, "region": "region not stated", "date": "date not stated", "source": str(file)}


def _price(table: Mapping[str, Any]) -> Price:
    return Price(
        tiers=tuple((tier.get("up_to", math.inf), tier["usd"]) for tier in table["tiers"]),
        unit=table["unit"],
        region=table["region"],
        date=str(table["date"]),
        source=table["source"],
    )
