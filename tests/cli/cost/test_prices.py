"""Prices: the file in the package, tiers, and what a user's own file may say."""

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
    """Give a price in these tiers."""
    return Price(tiers=tiers, unit="GB", region="r", date="d", source="s")


def test_each_price_says_its_unit_region_date_and_page() -> None:
    """A figure that nobody can look up again is none."""
    for name, found in load().items():
        assert found.unit, name
        assert found.region == "us-east-1", name
        assert found.date >= "2025-10-28", name
        assert found.source.startswith("https://aws.amazon.com/"), name


@pytest.mark.parametrize(
    ("gb", "usd"),
    [(0, 0), (1, 0.5), (10_240, 5120), (10_241, 5120.25), (30_720, 10_240), (51_200, 12_288), (61_440, 12_800)],
)
def test_a_tier_is_paid_for_what_lies_in_it(gb: float, usd: float) -> None:
    """CloudWatch's first 10 TB at 0.50, 20 at 0.25, 20 at 0.10, then 0.05: 60 TB are 5120 + 5120 + 2048 + 512 USD."""
    assert load()["cloudwatch_ingestion"].of(gb) == pytest.approx(usd)


@given(units=st.floats(0, 1e9), more=st.floats(0, 1e9))
def test_more_never_costs_less(units: float, more: float) -> None:
    """Whatever tier the next unit lies in."""
    for each in load().values():
        assert each.of(units) <= each.of(units + more) * (1 + 1e-12)


def test_a_users_file_replaces_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Another region's PUTs, and a unit said again; the others stay."""
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
def test_tiers_that_cannot_be_meant_are_refused_with_their_form(tmp_path: Path, tiers: str) -> None:
    """No amount may fall between tiers or behind the last, and no price is below zero."""
    (tmp_path / "mine.toml").write_text(f"[s3_put]\ntiers = {tiers}\n")
    with pytest.raises(PriceError, match=r"s3_put needs tiers = .*the last without"):
        load(tmp_path / "mine.toml")


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    """A name that does not exist, another unit, a field too many, tiers left out."""
    (tmp_path / "mine.toml").write_text(
        "s4_put = 1\n[s3_put]\nusd = 1\n[s3_storage]\ntiers = [{ usd = 1 }]\nunit = 'TB-month'\ncurrency = 'EUR'\n"
    )
    with pytest.raises(PriceError) as caught:
        load(tmp_path / "mine.toml")
    said = caught.value.mistakes
    assert [any(part in one for one in said) for part in ("no price 's4_put'", "s3_put needs tiers")] == [True, True]
    assert any("counted in GB-month, not in TB-month" in one for one in said)
    assert any("no field 'currency'" in one for one in said)
    assert len(said) == 4


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot be read"), (b"[", "not TOML"), (b"\xff", "not TOML")]
)
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    """No file, no TOML, no text."""
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(PriceError, match=complaint):
        load(tmp_path / "mine.toml")


def test_of_stops_at_the_tier_it_ends_in() -> None:
    """An amount on the edge is paid in the lower tier alone."""
    assert price((10, 2.0), (math.inf, 1.0)).of(10) == 20
    assert price((10, 2.0), (math.inf, 1.0)).of(11) == 21
