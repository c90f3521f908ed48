"""Prices: the file in the package, tiers, and the user's file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from logferry.cli.cost.prices import Price, PriceError, load

if TYPE_CHECKING:
    from pathlib import Path


def price(*tiers: tuple[float, float]) -> Price:
    """Return a price with these tiers."""
    return Price(tiers=tiers, unit="GB", region="r", date="d", source="s")


def test_each_price_has_unit_region_date_and_source() -> None:
    """Every price can be verified at its source."""
    for name, found in load().items():
        assert found.unit, name
        assert found.region == "us-east-1", name
        assert found.date >= "2025-10-28", name
        assert found.source.startswith("https://aws.amazon.com/"), name


@pytest.mark.parametrize(
    ("gb", "usd"),
    [(0, 0), (1, 0.5), (10_240, 5120), (10_241, 5120.25), (30_720, 10_240), (51_200, 12_288), (61_440, 12_800)],
)
def test_each_tier_applies_to_its_own_units(gb: float, usd: float) -> None:
    """CloudWatch costs 0.50 USD for 10 TB, 0.25 for 20, 0.10 for 20, then 0.05."""
    assert load()["cloudwatch_ingestion"].of(gb) == pytest.approx(usd)


@given(units=st.floats(0, 1e9), more=st.floats(0, 1e9))
def test_more_never_costs_less(units: float, more: float) -> None:
    """The rule holds across the limits of tiers."""
    for each in load().values():
        assert each.of(units) <= each.of(units + more) * (1 + 1e-12)


def test_a_users_file_replaces_only_the_prices_that_it_contains(tmp_path: Path) -> None:
    """All other prices remain those of the package."""
    (tmp_path / "mine.toml").write_text(
        '[s3_put]\ntiers = [{ usd = 0.0054 }]\nunit = "1,000 requests"\nregion = "eu-central-1"\ndate = 2026-11-01\n'
    )
    found = load(tmp_path / "mine.toml")
    assert found["s3_put"] == Price(
        tiers=((math.inf, 0.0054),),
        unit="1,000 requests",
        region="eu-central-1",
        date="2026-11-01",
        source=str(tmp_path / "mine.toml"),
    )
    assert {name: each for name, each in found.items() if name != "s3_put"} == {
        name: each for name, each in load().items() if name != "s3_put"
    }


@pytest.mark.parametrize(
    "tiers",
    [
        "[]",
        "3",
        "[3]",
        "[{ usd = -1 }]",
        "[{ usd = nan }]",
        "[{ usd = inf }]",
        "[{ usd = true }]",
        '[{ usd = "1" }]',
        "[{ up_to = 3 }]",
        "[{ usd = 1, up_to = 3 }]",
        "[{ usd = 1, upto = 3 }]",
        "[{ usd = 1 }, { usd = 2 }]",
        "[{ usd = 1, up_to = 5 }, { usd = 1, up_to = 3 }, { usd = 2 }]",
    ],
)
def test_invalid_tiers_are_rejected_with_the_valid_form(tmp_path: Path, tiers: str) -> None:
    """Tiers leave no gap, the last one has no limit, and no price is negative."""
    (tmp_path / "mine.toml").write_text(f"[s3_put]\ntiers = {tiers}\n")
    with pytest.raises(PriceError, match=r"s3_put needs tiers = .*no limit for the last tier"):
        load(tmp_path / "mine.toml")


def test_all_mistakes_of_a_price_file_are_reported_at_once(tmp_path: Path) -> None:
    """The file has an unknown name, another unit, an unknown field, and a price without tiers."""
    (tmp_path / "mine.toml").write_text(
        "s4_put = 1\n[s3_put]\nusd = 1\n[s3_storage]\ntiers = [{ usd = 1 }]\nunit = 'TB-month'\ncurrency = 'EUR'\n"
    )
    with pytest.raises(PriceError) as caught:
        load(tmp_path / "mine.toml")
    mistakes = caught.value.mistakes
    for part in ("unknown price 's4_put'", "s3_put needs tiers", "GB-month, not TB-month", "no field 'currency'"):
        assert any(part in mistake for mistake in mistakes), part
    assert len(mistakes) == 4


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot read"), (b"[", "not valid TOML"), (b"\xff", "not valid TOML")]
)
def test_an_unreadable_price_file_is_named_with_the_remedy(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    """The file is missing, is not TOML, or is not text."""
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(PriceError, match=complaint):
        load(tmp_path / "mine.toml")


def test_an_amount_at_a_limit_has_the_lower_tier() -> None:
    """The next tier begins above the limit."""
    assert price((10, 2.0), (math.inf, 1.0)).of(10) == 20
    assert price((10, 2.0), (math.inf, 1.0)).of(11) == 21
