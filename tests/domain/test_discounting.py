"""Whatever the discounts and lines: to the cent, never below 0, and each line by itself."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing import discounting
from billing.models import Discount, InvoiceLine, Subscription
from billing.proration import Line
from plans import pricing
from plans.models import Plan

AT = datetime(2026, 4, 1, tzinfo=UTC)
SUBSCRIPTION = Subscription(plan=Plan(slug="pro", name="Pro"))
Kind = InvoiceLine.Kind

amounts = st.decimals(min_value=-500, max_value=500, places=2)
discounts = st.one_of(
    st.builds(
        Discount,
        type=st.just(Discount.Type.PERCENTAGE),
        value=st.decimals(min_value="0.01", max_value=100, places=2),
        name=st.just("Sale"),
        starts_at=st.just(AT),
    ),
    st.builds(
        Discount,
        type=st.just(Discount.Type.FIXED),
        value=st.decimals(min_value="0.01", max_value=600, places=4),
        name=st.just("Off"),
        starts_at=st.just(AT),
    ),
)


def line(amount: Decimal, kind: InvoiceLine.Kind = Kind.BASE) -> Line:
    return Line(
        kind=kind, amount=amount, display_name="", description="", subscription=SUBSCRIPTION, is_credit=amount < 0
    )


@given(st.lists(amounts, max_size=8), st.lists(discounts, max_size=3), st.sampled_from(["usd", "jpy"]))
def test_no_line_falls_below_nothing_and_credits_stay(
    found: list[Decimal], given_: list[Discount], currency: str
) -> None:
    lines = [line(amount.quantize(Decimal(1)) if currency == "jpy" else amount) for amount in found]
    lowered = discounting.lower(lines, given_, at=AT, currency=currency)
    assert [row for row in lowered if row.discount is None] == lines
    assert discounting.subtotal(lowered) == sum((row.amount for row in lines), Decimal(0))
    left = Decimal(0)
    for row in lowered:
        if row.discount is None:
            assert left >= 0
            left = max(row.amount, Decimal(0))
        else:
            assert row.amount < 0
            assert row.lowers == Kind.BASE
            assert row.amount.as_tuple().exponent >= (0 if currency == "jpy" else -2)  # type: ignore[operator]
            left += row.amount
    assert left >= 0


@given(st.lists(st.decimals(min_value="0.01", max_value=500, places=2), min_size=1, max_size=12), discounts)
def test_a_sum_is_taken_off_whole_as_far_as_there_is_enough(found: list[Decimal], discount: Discount) -> None:
    lines = [line(amount) for amount in found]
    lowered = discounting.lower(lines, [discount], at=AT, currency="usd")
    taken = -sum((row.amount for row in lowered if row.discount is not None), Decimal(0))
    if discount.type == Discount.Type.FIXED:
        assert taken == min(pricing.round_money(discount.value, "usd"), sum(found))
    else:
        assert abs(taken - sum(found) * discount.value / 100) <= Decimal("0.005") * len(found)


def test_what_the_caller_worded_is_not_lowered() -> None:
    half = Discount(type=Discount.Type.PERCENTAGE, value=Decimal(50), name="Half", starts_at=AT)
    lines = [line(Decimal(10), Kind.CUSTOM), line(Decimal(10))]
    assert [row.amount for row in discounting.lower(lines, [half], at=AT, currency="usd")] == [10, 10, -5]
