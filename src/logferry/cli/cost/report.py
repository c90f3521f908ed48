"""The report of `logferry cost`: costs, cheapest policy, assumptions and price sources.

Guarantees:
- The report names the cheapest policy together with the maximum delay of a record.
- The report lists all assumptions, and region, date and source of the prices.
- All mistakes in a request are reported at once, each with its remedy (`UsageError`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logferry.cli.console import counted
from logferry.cli.cost import model
from logferry.cli.cost.prices import PriceError, load
from logferry.errors import SettingsError
from logferry.flush.policy import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from logferry.cli.cost.model import Function, MonthlyCost
    from logferry.cli.cost.prices import Price

DEFAULT_BYTES_PER_LINE = 200
"""Average line size in bytes without an option: the size of the benchmark's lines."""
MAX_INVOCATION_BYTES = 1 << 30
"""Maximum size of the logs of an invocation, in bytes. The simulation of more takes minutes."""
_TEN = 10
_PER_CENT = 100
_THOUSAND = 1_000
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class UsageError(Exception):
    """An invalid request; the message has one line for each mistake."""


@dataclass(frozen=True)
class CostRequest:
    """The options of the command, before they are validated together."""

    invocations_per_day: int
    lines: int
    bytes_per_line: int | None
    size: int | None
    """--bytes: bytes per invocation, an alternative to `bytes_per_line`."""
    memory_mb: int
    duration_ms: float
    architecture: str
    environments: int | None
    retention_days: int
    lifetime_hours: float
    idle_minutes: float
    put_ms: float
    timing: str | None
    """--timing, or None for each timing."""
    settings: dict[str, str]
    """The thresholds as LOGFERRY_ variables."""
    prices: Path | None


@dataclass(frozen=True)
class CostReport:
    """The costs, and the figures that they depend on."""

    function: Function
    prices: Mapping[str, Price]
    costs: Sequence[MonthlyCost]

    @property
    def cheapest(self) -> MonthlyCost:
        """The cost of the cheapest policy."""
        return model.cheapest([cost for cost in self.costs if cost.policy])

    @property
    def default(self) -> MonthlyCost:
        """The cost of the default policy."""
        return next(cost for cost in self.costs if cost.policy == model.DEFAULT)


def run_cost(request: CostRequest, *, as_json: bool) -> None:
    """Print the report. Raise UsageError."""
    report = estimate(request)
    console = Console()
    if as_json:
        print(json.dumps(as_dict(report), indent=2))
        return
    for part in render(report):
        # In a pipe a sentence is one line, for grep. On a terminal it is wrapped between words.
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)


def estimate(request: CostRequest) -> CostReport:
    """Return the costs for a request. Raise UsageError."""
    mistakes = _contradictions(request)
    timings = [Timing(request.timing)] if request.timing else list(Timing)
    try:
        prices = load(request.prices)
    except PriceError as error:
        mistakes += error.mistakes
    try:
        candidates = model.candidates(request.settings, timings)
    except SettingsError as error:
        mistakes += error.mistakes
    if mistakes:
        raise UsageError("\n".join(mistakes))
    function = _function(request)
    return CostReport(function, prices, model.monthly_costs(function, prices, candidates))


def _contradictions(request: CostRequest) -> list[str]:
    mistakes = []
    if request.size is not None and request.bytes_per_line is not None:
        mistakes.append("--bytes and --bytes-per-line exclude each other: give one of them")
    needed = _needed(request)
    if request.environments is not None and request.environments < needed:
        mistakes.append(
            f"--environments {request.environments} cannot run {request.invocations_per_day:,} invocations of "
            f"{request.duration_ms:g} ms in a day: give at least {needed}, or omit the option"
        )
    if _size(request) > MAX_INVOCATION_BYTES:
        mistakes.append(f"an invocation logs {_size(request):,} bytes: the maximum is 1 GiB, give fewer lines or bytes")
    return mistakes


def _needed(request: CostRequest) -> int:
    return model.environments_needed(invocations_per_day=request.invocations_per_day, duration_ms=request.duration_ms)


def _size(request: CostRequest) -> int:
    per_line = DEFAULT_BYTES_PER_LINE if request.bytes_per_line is None else request.bytes_per_line
    return request.lines * per_line if request.size is None else request.size


def _function(request: CostRequest) -> Function:
    return model.Function(
        invocations_per_day=request.invocations_per_day,
        lines=request.lines,
        size=_size(request),
        memory_mb=request.memory_mb,
        duration_ms=request.duration_ms,
        architecture=request.architecture,
        environments=_needed(request) if request.environments is None else request.environments,
        retention_days=request.retention_days,
        lifetime_hours=request.lifetime_hours,
        idle_minutes=request.idle_minutes,
        put_ms=request.put_ms,
    )


def as_dict(report: CostReport) -> dict[str, Any]:
    """Return the report for a program: unrounded, in the units that the names state."""
    return {
        "function": asdict(report.function),
        "costs": [asdict(cost) | {"usd": dict(cost.usd) | {"total": cost.total}} for cost in report.costs],
        "cheapest": report.cheapest.name,
        "assumptions": _assumptions(report.function),
        "prices": {name: _price_as_dict(price) for name, price in report.prices.items()},
    }


def _price_as_dict(price: Price) -> dict[str, Any]:
    tiers = [{"up_to": None if math.isinf(up_to) else up_to, "usd": usd} for up_to, usd in price.tiers]
    return asdict(price) | {"tiers": tiers}


def render(report: CostReport) -> list[RenderableType]:
    """Return the report for a terminal: figures, table, verdict, assumptions, sources."""
    return [
        Text(_figures(report.function), style="bold"),
        _table(report),
        Text(),
        Text(_verdict(report), style="bold green"),
        Text(f"Assumptions: {'; '.join(_assumptions(report.function))}."),
        *(Text(sentence) for sentence in _sources(report.prices)),
    ]


def _figures(function: Function) -> str:
    return (
        f"{counted(int(function.invocations_per_day), 'invocation')} per day with {counted(function.lines, 'line')}, "
        f"{counted(function.size, 'byte')} and {function.duration_ms:g} ms each, {function.memory_mb} MB on "
        f"{function.architecture}. Per month:"
    )


def _table(report: CostReport) -> Table:
    """Return a table of at most 80 columns."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)
    table.add_column("timing", no_wrap=True)
    for name in ("PUTs", "added", "GB kept", "delay", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mostly", no_wrap=True)
    for cost in report.costs:
        table.add_row(*(Text(cell) for cell in _row(cost)), style="green" if cost is report.cheapest else "")
    return table


def _row(cost: MonthlyCost) -> list[str]:
    item = max(cost.usd, key=lambda name: cost.usd[name])
    share = cost.usd[item] / cost.total * _PER_CENT if cost.total else 0
    usage = [_count(cost.puts), _duration(cost.added_seconds)] if cost.policy else ["-", "-"]
    return [
        cost.policy or cost.name,
        (cost.timing or "either") if cost.policy else "-",
        *usage,
        _amount(cost.stored_gb),
        "-" if cost.max_delay_seconds is None else _duration(cost.max_delay_seconds),
        _usd(cost.total),
        f"{item} {share:.0f}%",
    ]


def _verdict(report: CostReport) -> str:
    best, default = report.cheapest, report.default
    text = f"Cheapest: {best.name}, {_usd(best.total)} USD, each record is stored within {_delay(best)}."
    if default.policy != best.policy:
        text += f" Default: {default.name}, {_usd(default.total)} USD, within {_delay(default)}."
    cheaper = [cost for cost in report.costs if not cost.policy and cost.total < best.total]
    return text + "".join(f" {cost.name} costs less: {_usd(cost.total)} USD." for cost in cheaper)


def _assumptions(function: Function) -> list[str]:
    environments = counted(function.environments, "environment")
    per_environment = counted(function.invocations_per_environment, "invocation")
    return [
        f"invocations are spread evenly over {environments}, in each one every {_duration(function.gap_seconds)}",
        f"an environment ends after {function.lifetime_hours:g} h, or {function.idle_minutes:g} min without invocation",
        f"a cold start and an additional object occur per {per_environment}",
        f"a PUT takes {function.put_ms:g} ms in S3, and logferry's own times are those of its benchmark",
        f"gzip reduces a line to {model.STORED_SHARE:g} of its size in every destination",
        f"records are kept for {counted(function.retention_days, 'day')}",
        f"a month has {model.DAYS} days, without free tier and discounts",
    ]


def _sources(prices: Mapping[str, Price]) -> Iterable[str]:
    """Yield a sentence for each region and date of the prices."""
    pages: dict[tuple[str, str], dict[str, None]] = {}
    for price in prices.values():
        pages.setdefault((price.region, price.date), {})[price.source] = None
    for (region, date), sources in pages.items():
        yield f"Prices: {region}, {date}, {' '.join(sources)} (other prices: --prices FILE)"


def _delay(cost: MonthlyCost) -> str:
    return _duration(cost.max_delay_seconds or 0.0)


def _usd(amount: float) -> str:
    return f"<{model.CENT}" if 0 < amount < model.CENT else _amount(amount)


def _amount(number: float) -> str:
    return f"{number:,.2f}" if number < _THOUSAND else _count(number)


def _count(number: float) -> str:
    """Return a number in at most seven characters."""
    for unit, letter in _UNITS:
        if number >= unit:
            value = number / unit
            return f"{value:.{2 if value < _TEN else 1 if value < _PER_CENT else 0}f} {letter}"
    return f"{number:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 4 * _DAY else f"{_count(seconds / _DAY)} d"
