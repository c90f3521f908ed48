"""Requests of a command and their price. Pure.

Design: a read of many small objects costs requests and not bytes. A command therefore counts its
requests, and states the price of the GETs before it sends many of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logferry.cli.cost import prices
from logferry.cli.stored_objects import DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNCONFIRMED_GETS = 20_000
"""Number of GETs above which a command asks first. They cost 0.008 USD and take about a minute."""
_UNIT = 1000
"""Requests per unit of the prices."""


class ExpensiveReadError(DestinationError):
    """A read that needs a confirmation; the message names the number of GETs and the option."""


@dataclass
class RequestUsage:
    """Requests of one command, and the bytes of their responses."""

    lists: int = 0
    gets: int = 0
    bytes: int = 0
    cached: int = 0
    """Objects that were read from the cache."""

    @property
    def usd(self) -> float:
        """Return the price of the requests in USD, without free tier and data transfer."""
        known = prices.load_reading()
        return known["s3_list"].of(self.lists / _UNIT) + known["s3_get"].of(self.gets / _UNIT)

    def __str__(self) -> str:
        """Return the requests with their price, such as `1 LIST, 38 GETs, 0.00002 USD`."""
        text = f"{self.lists:,} LIST{'' if self.lists == 1 else 's'}, {self.gets:,} GET{'' if self.gets == 1 else 's'}"
        return f"{text}, {usd_text(self.usd)}"


def usd_text(usd: float) -> str:
    """Return an amount with two significant digits and at least cents, without an exponent."""
    if usd <= 0:
        return "0 USD"
    decimals = max(2, 1 - math.floor(math.log10(usd)))
    whole, _, fraction = f"{usd:,.{decimals}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2} USD"


def check_price(gets: int, confirm: Callable[[str], bool] | None) -> None:
    """Ask before an expensive read. Raise ExpensiveReadError if nothing confirms it.

    `confirm` receives the question and returns the answer. Without a terminal it is None.
    """
    if gets <= MAX_UNCONFIRMED_GETS:
        return
    price = f"{gets:,} objects are not in the cache: {gets:,} GETs cost {usd_text(RequestUsage(gets=gets).usd)}"
    if confirm is None:
        raise ExpensiveReadError(f"{price}; add --yes to read them, or limit the read with --function and --since")
    if not confirm(f"{price}. Read them?"):
        raise ExpensiveReadError("nothing was read: limit the read with --function and --since")
