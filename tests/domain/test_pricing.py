"""What quantities cost, held to a slow model that buys one billing unit at a time."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.pricing import Rate, Tier, minor_units, rate_of, round_money, round_up, share

amounts = st.decimals(min_value=0, max_value=50, places=2)
small = st.integers(min_value=0, max_value=60)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    """Ascending bands, the last one open."""
    tops = sorted(draw(st.sets(st.integers(min_value=1, max_value=80), max_size=3)))
    bands = [Tier(Decimal(top), draw(amounts), draw(amounts)) for top in tops]
    return (*bands, Tier(None, draw(amounts), draw(amounts)))


def _band_of(bands: tuple[Tier, ...], unit: int) -> Tier:
    return next(band for band in bands if band.to is None or unit <= band.to)


@given(included=small, quantity=small, bands=tiers())
def test_graduated_tiers_price_each_unit_in_the_band_it_falls_in(
    included: int, quantity: int, bands: tuple[Tier, ...]
) -> None:
    rate = Rate(included=Decimal(included), tiers=bands)
    paid = [_band_of(bands, unit) for unit in range(included + 1, quantity + 1)]
    expected = sum((band.amount for band in paid), Decimal(0))
    expected += sum((band.flat_amount for band in bands if band in paid), Decimal(0))
    if len(set(bands)) == len(bands):
        assert rate.price_of(Decimal(quantity)) == expected


@given(included=small, quantity=small, bands=tiers())
def test_volume_tiers_price_everything_in_the_band_that_is_reached(
    included: int, quantity: int, bands: tuple[Tier, ...]
) -> None:
    rate = Rate(included=Decimal(included), tiers=bands, is_volume=True)
    reached = _band_of(bands, quantity)
    expected = quantity * reached.amount + reached.flat_amount if quantity > included else Decimal(0)
    assert rate.price_of(Decimal(quantity)) == expected


@given(included=small, quantity=small, units=st.integers(min_value=1, max_value=25), amount=amounts)
def test_whole_billing_units_are_bought_until_there_is_enough(
    included: int, quantity: int, units: int, amount: Decimal
) -> None:
    packs = 0
    while included + packs * units < quantity:
        packs += 1
    rate = Rate(included=Decimal(included), amount=amount, billing_units=Decimal(units))
    assert rate.paid_units(Decimal(quantity)) == packs * units
    assert rate.price_of(Decimal(quantity)) == packs * amount


@given(quantity=st.decimals(min_value=0, max_value=10**19, places=10), units=st.integers(min_value=1, max_value=1000))
def test_rounding_up_never_falls_short_and_never_adds_a_whole_unit(quantity: Decimal, units: int) -> None:
    raised = round_up(quantity, Decimal(units))
    assert 0 <= raised - quantity < units
    assert raised % units == 0


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("0.005", "usd", "0.01"),
        ("-0.005", "usd", "-0.01"),
        ("10.666", "usd", "10.67"),
        ("10.5", "jpy", "11"),
        ("1.2349", "kwd", "1.23"),
        ("-0.001", "usd", "0"),
    ],
)
def test_money_is_rounded_half_up_to_what_the_currency_can_pay(amount: str, currency: str, rounded: str) -> None:
    result = round_money(Decimal(amount), currency)
    assert result == Decimal(rounded)
    assert not (result == 0 and result.is_signed())


@given(amount=st.decimals(min_value=-(10**9), max_value=10**9, places=10))
def test_a_credit_is_the_charge_with_its_sign_turned(amount: Decimal) -> None:
    assert round_money(-amount, "usd") == -round_money(amount, "usd")


@given(amount=amounts, whole=st.integers(min_value=1, max_value=31 * 24 * 3600 * 1000), data=st.data())
def test_the_two_parts_of_a_period_cost_what_it_costs_to_the_cent(
    amount: Decimal, whole: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(min_value=0, max_value=whole))
    parts = share(amount, part, whole) + share(amount, whole - part, whole)
    assert parts.quantize(Decimal("1e-20"), ROUND_HALF_UP) == amount


def test_minor_units_follow_the_currency() -> None:
    assert minor_units(Decimal("12.34"), "usd") == 1234
    assert minor_units(Decimal(12), "jpy") == 12
    assert minor_units(Decimal("1.230"), "kwd") == 1230


def test_a_rate_is_read_from_the_columns_of_an_item() -> None:
    rate = rate_of(
        included=Decimal(100),
        amount=None,
        tiers=[{"to": "500", "amount": "0.5", "flat_amount": "0"}, {"to": "inf", "amount": "0.25", "flat_amount": "2"}],
        is_volume=False,
        billing_units=Decimal(1),
    )
    assert rate.price_of(Decimal(600)) == Decimal("0.5") * 400 + Decimal("0.25") * 100 + 2
