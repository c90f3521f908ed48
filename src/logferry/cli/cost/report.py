"""``logferry cost``: what a month of a function's logs costs under each policy, beside AWS's own ways, as a table.

Promises
  * The cheapest is named together with what it costs in freshness: how long a record may wait until it is stored.
  * Whatever the figures rest on is said: the assumptions, the prices' region, date and source.
  * All mistakes in what was given are found at once, and each says its remedy (``Mistaken``).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.cost import model as billing
from logferry.cli.cost.prices import PriceError, load
from logferry.errors import SettingsError
from logferry.flush.policy import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from logferry.cli.cost.model import Bill, Function
    from logferry.cli.cost.prices import Price

BYTES_PER_LINE = 200
"""Where nothing is said: the README's own figures are measured with such lines."""
MOST_BYTES = 1 << 30
"""That an invocation may log: more is a slip of the keyboard, and would be counted in minutes."""
_PER_CENT = 100
_THOUSAND = 1_000
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_MINUTE, _HOUR = 60, 3600


class Mistaken(Exception):
    """What was asked cannot be answered; the message names everything that is wrong with it, a line each."""


@dataclass(frozen=True)
class Asked:
    """The options that no single value can judge, as they were given."""

    invocations_per_day: int
    lines: int
    bytes_per_line: int | None
    size: int | None
    """--bytes: of an invocation, instead of ``bytes_per_line``."""
    memory_mb: int
    duration_ms: float
    architecture: str
    environments: int | None
    retention_days: int
    life_hours: float
    idle_minutes: float
    put_ms: float
    timing: str | None
    """--timing; None for each that makes a difference."""
    settings: dict[str, str]
    """The thresholds, as the LOGFERRY_ settings that they are."""
    prices: Path | None


@dataclass(frozen=True)
class Answer:
    """The bills, and what they rest on."""

    function: Function
    prices: Mapping[str, Price]
    bills: Sequence[Bill]

    @property
    def cheapest(self) -> Bill:
        """The cheapest policy."""
        return billing.cheapest([bill for bill in self.bills if bill.policy])

    @property
    def default(self) -> Bill:
        """The policy of a function that sets nothing."""
        return next(bill for bill in self.bills if bill.policy == billing.DEFAULT)


def run_cost(asked: Asked, *, as_json: bool) -> None:
    """Print the answer. Raises Mistaken."""
    answer = work_out(asked)
    console = Console()
    if as_json:
        print(json.dumps(as_dict(answer), indent=2))
        return
    for part in render(answer):
        # A sentence is one line for grep, and wrapped between words for the eye.
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)


def work_out(asked: Asked) -> Answer:
    """The bills of what was asked. Raises Mistaken."""
    mistakes = _contradictions(asked)
    timings = [Timing(asked.timing)] if asked.timing else list(Timing)
    try:
        prices = load(asked.prices)
    except PriceError as error:
        mistakes += error.mistakes
    try:
        candidates = billing.candidates(asked.settings, timings)
    except SettingsError as error:
        mistakes += error.mistakes
    if mistakes:
        raise Mistaken("\n".join(mistakes))
    function = _function(asked)
    return Answer(function, prices, billing.bills(function, prices, candidates))


def _contradictions(asked: Asked) -> list[str]:
    mistakes = []
    if asked.size is not None and asked.bytes_per_line is not None:
        mistakes.append("--bytes and --bytes-per-line say the same: give one of them")
    needed = _needed(asked)
    if asked.environments is not None and asked.environments < needed:
        mistakes.append(
            f"--environments {asked.environments} cannot run {asked.invocations_per_day:,} invocations of "
            f"{asked.duration_ms:g} ms in a day: give {needed} or more, or leave it out"
        )
    if _size(asked) > MOST_BYTES:
        mistakes.append(f"an invocation logs {_size(asked):,} bytes: give lines and bytes that make 1 GiB at most")
    return mistakes


def _needed(asked: Asked) -> int:
    return billing.environments_needed(invocations_per_day=asked.invocations_per_day, duration_ms=asked.duration_ms)


def _size(asked: Asked) -> int:
    per_line = BYTES_PER_LINE if asked.bytes_per_line is None else asked.bytes_per_line
    return asked.lines * per_line if asked.size is None else asked.size


def _function(asked: Asked) -> Function:
    return billing.Function(
        invocations_per_day=asked.invocations_per_day,
        lines=asked.lines,
        size=_size(asked),
        memory_mb=asked.memory_mb,
        duration_ms=asked.duration_ms,
        architecture=asked.architecture,
        environments=_needed(asked) if asked.environments is None else asked.environments,
        retention_days=asked.retention_days,
        life_hours=asked.life_hours,
        idle_minutes=asked.idle_minutes,
        put_ms=asked.put_ms,
    )


def as_dict(answer: Answer) -> dict[str, Any]:
    """The answer for a program: amounts unrounded, in the units that their names say."""
    return {
        "function": asdict(answer.function),
        "bills": [asdict(bill) | {"usd": dict(bill.usd) | {"total": bill.total}} for bill in answer.bills],
        "cheapest": answer.cheapest.name,
        "assumptions": _assumptions(answer.function),
        "prices": {name: _price_as_dict(price) for name, price in answer.prices.items()},
    }


def _price_as_dict(price: Price) -> dict[str, Any]:
    tiers = [{"up_to": None if math.isinf(up_to) else up_to, "usd": usd} for up_to, usd in price.tiers]
    return asdict(price) | {"tiers": tiers}


def render(answer: Answer) -> list[RenderableType]:
    """The answer for a terminal: the figures, the table, the cheapest, and what all that rests on."""
    return [
        Text(_figures(answer.function), style="bold"),
        _table(answer),
        Text(),
        Text(_verdict(answer), style="bold green"),
        Text(f"Assumed: {'; '.join(_assumptions(answer.function))}."),
        *(Text(sentence) for sentence in _sources(answer.prices)),
    ]


def _figures(function: Function) -> str:
    return (
        f"{function.invocations_per_day:,} invocations a day, {function.lines:,} lines and {function.size:,} bytes "
        f"each, {function.memory_mb} MB on {function.architecture}, {function.duration_ms:g} ms; a month:"
    )


def _table(answer: Answer) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for name in ("PUTs", "added s", "GB kept", "waits", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mostly", no_wrap=True)
    for each in answer.bills:
        table.add_row(*(Text(cell) for cell in _row(each)), style="green" if each is answer.cheapest else "")
    return table


def _row(each: Bill) -> list[str]:
    of = max(each.usd, key=lambda what: each.usd[what])
    share = each.usd[of] / each.total * _PER_CENT if each.total else 0
    return [
        each.name,
        _count(each.puts) if each.policy else "-",
        _count(each.added_seconds) if each.policy else "-",
        _amount(each.stored_gb),
        "-" if each.longest_wait is None else _duration(each.longest_wait),
        _usd(each.total),
        f"{of} {share:.0f}%",
    ]


def _verdict(answer: Answer) -> str:
    best, default = answer.cheapest, answer.default
    said = f"Cheapest: {best.name}, {_usd(best.total)} USD; for that a record waits up to {_wait(best)}."
    if default.policy != best.policy:
        said += f" {default.name}, the default: {_usd(default.total)} USD, up to {_wait(default)}."
    cheaper = [bill for bill in answer.bills if not bill.policy and bill.total < best.total]
    return said + "".join(f" {bill.name} costs less: {_usd(bill.total)} USD." for bill in cheaper)


def _assumptions(function: Function) -> list[str]:
    environments, lives = function.environments, function.invocations_per_life
    spread = f"the day and {_counted(environments, 'environment')}, in each one every {_duration(function.gap_seconds)}"
    ends = f"after {function.life_hours:g} h, or {function.idle_minutes:g} min without an invocation"
    return [
        f"invocations come evenly over {spread}",
        f"an environment ends {ends}: a cold start and an object more for every {_counted(lives, 'invocation')}",
        f'S3 takes {function.put_ms:g} ms for a PUT, logferry what the README\'s "Speed" says',
        f"gzip leaves {billing.STORED_SHARE:g} of a line, wherever it is stored, for {function.retention_days} days",
        f"a month has {billing.DAYS} days, and nothing is free or discounted",
    ]


def _sources(prices: Mapping[str, Price]) -> Iterable[str]:
    """Where prices are from: a sentence for each region and date."""
    pages: dict[tuple[str, str], dict[str, None]] = {}
    for price in prices.values():
        pages.setdefault((price.region, price.date), {})[price.source] = None
    for (region, date), sources in pages.items():
        yield f"Prices: {region}, {date}, {' '.join(sources)} (others: --prices FILE)"


def _wait(each: Bill) -> str:
    return _duration(each.longest_wait or 0.0)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _usd(amount: float) -> str:
    return f"<{billing.CENT}" if 0 < amount < billing.CENT else _amount(amount)


def _amount(number: float) -> str:
    return f"{number:,.2f}" if number < _THOUSAND else _count(number)


def _count(number: float) -> str:
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:,.2f} {letter}"
    return f"{number:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
