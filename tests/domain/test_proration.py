"""The lines of invoices, held to a slow model that spreads money over the seconds of a cycle."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from billing import proration
from billing.models import Subscription, SubscriptionItem
from billing.proration import Covered, Holding, Period
from entities.models import Customer, Entity
from plans.intervals import Interval, IntervalUnit, period_around
from plans.models import Feature, Plan

START = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = Interval(IntervalUnit.MONTH)
money = st.decimals(min_value=Decimal("0.01"), max_value=5000, places=2)
seconds = st.integers(min_value=0, max_value=400 * 24 * 3600)
intervals = st.sampled_from(["week", "month", "quarter", "year"])
CENT = Fraction(1, 100)


def holding(price: Decimal | None, interval: str = "month", items: list[SubscriptionItem] | None = None) -> Holding:
    """A plan held by Acme's workspace A since the last of January."""
    subscription = Subscription(
        customer=Customer(external_id="acme"),
        entity=Entity(external_id="a", name="Workspace A"),
        plan=Plan(slug="pro", name="Pro"),
        price_amount=price,
        price_interval=interval if price is not None else "",
        billing_cycle_anchor=START,
    )
    return Holding(subscription, items or [])


def rounded(amount: Fraction) -> Fraction:
    """To the cent, half away from zero."""
    cents = abs(amount) * 100
    whole = (cents + Fraction(1, 2)) // 1
    return Fraction(whole, 100) * (1 if amount >= 0 else -1)


@given(price=money, interval=intervals, after=seconds)
def test_a_plan_that_joins_pays_for_the_seconds_that_are_left(price: Decimal, interval: str, after: int) -> None:
    at = START + timedelta(seconds=after)
    start, end = period_around(START, Interval(IntervalUnit(interval)), at)
    left = Fraction(int((end - at).total_seconds()), int((end - start).total_seconds()))
    lines = proration.first_lines(holding(price, interval), at=at, currency="usd")
    assert Fraction(proration.total(lines)) == rounded(Fraction(price) * left)


@given(price=money, after=seconds, later=seconds)
def test_what_was_charged_and_is_then_credited_leaves_what_was_held(price: Decimal, after: int, later: int) -> None:
    bought = START + timedelta(seconds=after)
    held = holding(price)
    charged = proration.first_lines(held, at=bought, currency="usd")
    held.covered = [
        Covered(line.kind, None, line.amount, line.period, "", "") for line in charged if line.period is not None
    ]
    end = period_around(START, MONTH, bought)[1]
    given_up = min(bought + timedelta(seconds=later), end)
    credited = proration.credit_lines(held, at=given_up, currency="usd")
    cycle = Fraction(int((end - period_around(START, MONTH, bought)[0]).total_seconds()))
    used = Fraction(price) * Fraction(int((given_up - bought).total_seconds())) / cycle
    assert abs(Fraction(proration.total([*charged, *credited])) - used) <= CENT


@given(price=money, after=seconds)
def test_attaching_and_canceling_in_the_same_instant_nets_to_nothing(price: Decimal, after: int) -> None:
    at = START + timedelta(seconds=after)
    held = holding(price)
    charged = proration.first_lines(held, at=at, currency="usd")
    held.covered = [
        Covered(line.kind, None, line.amount, line.period, "", "") for line in charged if line.period is not None
    ]
    assert proration.total([*charged, *proration.credit_lines(held, at=at, currency="usd")]) == 0


@given(
    charges=st.lists(st.tuples(money, st.integers(min_value=0, max_value=27)), min_size=1, max_size=6),
    day=st.integers(min_value=0, max_value=28),
)
@example(charges=[(Decimal("4.54"), 14), (Decimal("4.54"), 14), (Decimal("0.23"), 14)], day=23)  # half a cent of shares
def test_a_credit_is_the_unused_rest_of_everything_charged_before(charges: list[tuple[Decimal, int]], day: int) -> None:
    end = START + timedelta(days=28)
    held = holding(Decimal(1))
    held.covered = [
        Covered("base", None, amount, Period(START + timedelta(days=since), end), "", "") for amount, since in charges
    ]
    at = START + timedelta(days=day)
    unused = Fraction(0)
    for amount, since in charges:
        for number in range(since, 28):
            if number >= day:
                unused += Fraction(amount) / (28 - since)
    credited = proration.credit_lines(held, at=at, currency="usd")
    assert Fraction(proration.total(credited)) == rounded(-unused)


seats = Feature(pk=1, slug="seats", name="Seats", type="metered", consumable=False)
messages = Feature(pk=2, slug="messages", name="Messages", type="metered", consumable=True)


def item(feature: Feature, **terms: object) -> SubscriptionItem:
    values = {"price_interval": "month", "price_amount": Decimal(10), "billing_method": "usage_based", **terms}
    return SubscriptionItem(pk=feature.pk, position=feature.pk, feature=feature, **values)


@given(before=st.integers(0, 30), after=st.integers(0, 30), included=st.integers(0, 5), past=st.integers(0, 28))
def test_a_changed_number_of_seats_costs_the_difference_for_the_rest(
    before: int, after: int, included: int, past: int
) -> None:
    held = holding(Decimal(1), items=[item(seats, included=Decimal(included), on_increase="prorate_immediately")])
    at = START + timedelta(days=past)
    line = proration.change_line(
        held,
        held.items[0],
        before=Decimal(max(before, included)),
        after=Decimal(max(after, included)),
        at=at,
        whole=False,
        currency="usd",
    )
    start, end = period_around(START, MONTH, at)
    left = Fraction((end - at).days, (end - start).days)
    expected = 10 * (max(after - included, 0) - max(before - included, 0)) * left
    assert Fraction(line.amount) == rounded(expected)


def test_seats_in_arrears_and_overage_are_billed_where_their_interval_ends() -> None:
    held = holding(
        Decimal(200),
        "year",
        [item(seats, included=Decimal(1)), item(messages, included=Decimal(100), price_amount=Decimal(1))],
    )
    held.seats = {1: Decimal(3)}
    held.overdrawn = {2: Decimal(7)}
    boundary = datetime(2026, 2, 28, tzinfo=UTC)
    billed = proration.usage_lines(held, at=boundary, currency="usd", with_overdrawn=True)
    assert [(line.kind, line.amount) for line in billed] == [("seats", Decimal(30)), ("overage", Decimal(7))]
    between = proration.usage_lines(held, at=boundary + timedelta(days=1), currency="usd", with_overdrawn=True)
    assert between == []


def test_lines_say_what_they_are_for_and_whose_they_are() -> None:
    lines = proration.first_lines(holding(Decimal(20)), at=START, currency="usd")
    assert [line.description for line in lines] == ["Pro - Base Price (from 31 Jan 2026 to 28 Feb 2026) (Workspace A)"]
