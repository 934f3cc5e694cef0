"""Prices and items in the words of a pricing page."""

from decimal import Decimal
from typing import Any

import pytest

from plans import wording
from plans.models import Feature, Plan, PlanItem

SEATS = Feature(slug="seats", name="Seats", display_singular="seat", display_plural="seats")
CALLS = Feature(slug="calls", name="API Calls", consumable=True)
SSO = Feature(slug="sso", name="Single sign-on", type=Feature.Type.BOOLEAN)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("30", "usd", "$30"),
        ("30.0000000000", "usd", "$30"),
        ("0.5", "usd", "$0.50"),
        ("0.0025", "usd", "$0.0025"),
        ("12345.60", "eur", "€12,345.60"),
        ("100", "usd", "$100"),
        ("30", "chf", "CHF 30"),
    ],
)
def test_money_has_its_currency_and_no_idle_zeros(amount: str, currency: str, text: str) -> None:
    assert wording.money(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.5", "usd", "1,234.50 USD"),
        ("-4.5200", "eur", "−4.52 EUR"),
        ("0", "usd", "0.00 USD"),
        ("1234567", "jpy", "1,234,567 JPY"),
        ("-1200.0000", "jpy", "−1,200 JPY"),
        ("0.125", "kwd", "0.125 KWD"),
        ("12.5", "kwd", "12.500 KWD"),
        ("-0.001", "usd", "0.00 USD"),
    ],
)
def test_an_amount_has_all_the_decimals_of_its_currency(amount: str, currency: str, text: str) -> None:
    assert wording.amount(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("interval", "count", "text"),
    [
        ("month", 1, "per month"),
        ("month", 3, "per 3 months"),
        ("semi_annual", 1, "per half-year"),
        ("semi_annual", 3, "per 3 half-years"),
        ("one_off", 1, "one-off"),
        ("", 1, "one-off"),
    ],
)
def test_intervals_are_told_in_words(interval: str, count: int, text: str) -> None:
    assert wording.every(interval, count) == text


def test_a_base_price_is_told_with_its_interval() -> None:
    plan = Plan(price_amount=Decimal(30), price_interval="month")
    assert wording.base_price(plan, "usd") == ("$30", "per month")


MONTHLY = {"price_interval": "month", "billing_method": "usage_based"}


@pytest.mark.parametrize(
    ("feature", "terms", "texts"),
    [
        (CALLS, {"included": Decimal(10000)}, ("10,000 API Calls", "")),
        (CALLS, {"unlimited": True}, ("Unlimited API Calls", "")),
        (SSO, {}, ("Single sign-on", "")),
        (SEATS, {"included": Decimal(1), "price_amount": Decimal(30), **MONTHLY}, ("1 seat", "then $30 per seat")),
        (SEATS, {"price_amount": Decimal(30), **MONTHLY}, ("$30 per seat", "per month")),
        (
            CALLS,
            {"price_amount": Decimal("0.5"), "billing_units": Decimal(100), **MONTHLY},
            ("$0.50 per 100 API Calls", "per month"),
        ),
        (
            SEATS,
            {
                "included": Decimal(5),
                "tiers": [{"to": "10", "amount": "3", "flat_amount": "0"}, {"to": "inf", "amount": "1"}],
                **MONTHLY,
            },
            ("5 seats", "then $1 – $3 per seat"),
        ),
    ],
)
def test_items_are_told_as_a_customer_reads_them(
    feature: Feature, terms: dict[str, Any], texts: tuple[str, str]
) -> None:
    assert wording.item(PlanItem(feature=feature, **terms), "usd") == texts
