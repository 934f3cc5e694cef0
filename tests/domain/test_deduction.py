"""The deduction rules against a slow, obvious model that moves one unit at a time, and the rules' own promises."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.deduction import Deduction, OverageBehavior, Source, deduct, in_order, overage_bound
from plans.intervals import Interval, IntervalUnit

CAP, REJECT, OVERFLOW = OverageBehavior.CAP, OverageBehavior.REJECT, OverageBehavior.OVERFLOW
MONTH, DAY = Interval(IntervalUnit.MONTH), Interval(IntervalUnit.DAY)


def source(pk: int, left: int | str, *, usage: int | str = 0, **more: object) -> Source:
    return Source(id=pk, left=Decimal(left), usage=Decimal(usage), feature_id=1, **more)  # type: ignore[arg-type]


def taken(result: Deduction) -> dict[int, Decimal]:
    return {part.source_id: part.amount for part in result.parts}


def test_usage_drains_one_source_before_it_touches_the_next() -> None:
    result = deduct([source(1, 500), source(2, 500), source(3, 500)], Decimal(600), behavior=CAP)
    assert taken(result) == {1: 500, 2: 100}
    assert result.complete


def test_what_does_not_fit_is_cut_off() -> None:
    result = deduct([source(1, 50), source(2, 50)], Decimal(120), behavior=CAP)
    assert taken(result) == {1: 50, 2: 50}
    assert result.applied == 100
    assert not result.complete


def test_reject_takes_all_or_nothing() -> None:
    assert deduct([source(1, 50)], Decimal(51), behavior=REJECT) == Deduction(Decimal(51))
    assert taken(deduct([source(1, 50)], Decimal(50), behavior=REJECT)) == {1: 50}


def test_overflow_takes_what_is_missing_from_the_first_source_that_may_go_below_zero() -> None:
    sources = [source(1, 20, overage=None), source(2, 5, overage=None)]
    assert taken(deduct(sources, Decimal(50), behavior=OVERFLOW)) == {1: 45, 2: 5}


def test_overage_stops_at_its_bound_counting_what_is_overdrawn_already() -> None:
    result = deduct([source(1, -4, overage=Decimal(10))], Decimal(100), behavior=CAP)
    assert taken(result) == {1: 6}


def test_a_spend_limit_bounds_the_overage_of_all_sources_together() -> None:
    sources = [source(1, 10, overage=Decimal(8)), source(2, 0, overage=None)]
    result = deduct(sources, Decimal(100), behavior=CAP, overage_headroom=Decimal(12))
    assert taken(result) == {1: 18, 2: 4}


def test_a_usage_limit_cuts_what_is_tracked_and_overflow_ignores_it() -> None:
    assert taken(deduct([source(1, 100)], Decimal(10), behavior=CAP, headroom=Decimal(4))) == {1: 4}
    assert deduct([source(1, 100)], Decimal(10), behavior=REJECT, headroom=Decimal(4)).parts == ()
    over = deduct([source(1, 100, overage=None)], Decimal(10), behavior=OVERFLOW, headroom=Decimal(4))
    assert taken(over) == {1: 10}


def test_a_usage_limit_that_was_overflowed_leaves_nothing() -> None:
    assert deduct([source(1, 100)], Decimal(1), behavior=CAP, headroom=Decimal(-8)).parts == ()


def test_credits_pay_at_their_rate_after_the_feature_itself() -> None:
    own, credits_ = source(1, 5), Source(2, Decimal(100), Decimal(0), 9, cost=Decimal("0.2"), is_own_feature=False)
    result = deduct([own, credits_], Decimal(8), behavior=CAP)
    assert taken(result) == {1: 5, 2: Decimal("0.6")}
    assert result.applied == 8


def test_a_limit_on_the_credits_counts_credits() -> None:
    credits_ = Source(2, Decimal(100), Decimal(0), 9, cost=Decimal("0.5"), is_own_feature=False)
    result = deduct([credits_], Decimal(10), behavior=CAP, credit_headroom={9: Decimal(3)})
    assert taken(result) == {2: 3}
    assert result.applied == 6


def test_unlimited_absorbs_everything_and_a_refund_of_it_is_not_clamped() -> None:
    sources = [source(1, 0, unlimited=True), source(2, 100)]
    assert taken(deduct(sources, Decimal(5000), behavior=CAP)) == {1: 5000}
    assert taken(deduct(sources, Decimal(-7), behavior=CAP)) == {1: -7}


def test_a_refund_cures_overdrafts_first_and_then_fills_in_order_up_to_each_grant() -> None:
    sources = [source(1, 60, usage=40), source(2, -10, usage=60)]
    assert taken(deduct(sources, Decimal(-15), behavior=CAP)) == {2: -10, 1: -5}
    assert taken(deduct(sources, Decimal(-500), behavior=CAP)) == {2: -60, 1: -40}


def test_a_refund_with_overflow_lifts_the_first_source_above_its_grant() -> None:
    assert taken(deduct([source(1, 70, usage=30)], Decimal(-50), behavior=OVERFLOW)) == {1: -50}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (source(9, 1, unlimited=True, is_own_feature=False), source(1, 1)),
        (source(9, 1), source(1, 1, is_own_feature=False)),
        (source(9, 1, is_rollover=True), source(1, 1)),
        (source(9, 1, interval=MONTH), source(1, 1)),
        (source(9, 1, interval=DAY), source(1, 1, interval=MONTH)),
        (source(9, 1), source(1, 1, is_add_on=True)),
        (source(9, 1, is_prepaid=True), source(1, 1)),
        (source(1, 1, item_id=2), source(9, 1)),
        (source(9, 1, entity_id=1, is_pool=False), source(1, 1, entity_id=2, is_pool=False)),
    ],
)
def test_sources_pay_in_the_documented_order(earlier: Source, later: Source) -> None:
    for for_entity in (True, False):
        assert in_order([later, earlier], for_entity=for_entity) == [earlier, later]


def test_a_customer_drains_the_slices_of_an_older_item_first_and_an_entity_what_it_had_first() -> None:
    older, newer = source(9, 1, item_id=1, is_pool=False), source(8, 1, item_id=2, is_pool=False)
    assert in_order([newer, older], for_entity=False) == [older, newer]
    assert in_order([older, newer], for_entity=True) == [newer, older]


def test_an_entity_uses_its_own_before_the_pool_and_a_customer_the_pool_first() -> None:
    own, pool = source(9, 1, is_pool=False, entity_id=3), source(1, 1)
    assert in_order([pool, own], for_entity=True) == [own, pool]
    assert in_order([own, pool], for_entity=False) == [pool, own]


@pytest.mark.parametrize(
    ("expected", "terms"),
    [
        (Decimal(0), {}),
        (None, {"is_sold": True}),
        (Decimal(30), {"is_sold": True, "most_sold": Decimal(30)}),
        (None, {"is_allocated": True}),
        (Decimal(0), {"is_allocated": True, "behavior": REJECT}),
        (None, {"allowed": True, "behavior": REJECT}),
        (Decimal(0), {"allowed": False, "is_sold": True}),
        (None, {"behavior": OVERFLOW}),
        (Decimal(0), {"behavior": OVERFLOW, "is_rollover": True}),
    ],
)
def test_who_may_go_below_zero(expected: Decimal | None, terms: dict[str, object]) -> None:
    plain = {
        "behavior": CAP,
        "allowed": None,
        "is_sold": False,
        "most_sold": None,
        "is_allocated": False,
        "is_rollover": False,
    }
    assert overage_bound(**{**plain, **terms}) == expected  # type: ignore[arg-type]


# -- against a model that knows nothing but single units --

units = st.integers(-20, 40)
bounds = st.one_of(st.none(), st.integers(0, 15))


@st.composite
def wallets(draw: st.DrawFn) -> list[Source]:
    return [
        Source(
            id=position,
            left=Decimal(draw(units)),
            usage=Decimal(draw(st.integers(0, 30))),
            feature_id=1,
            overage=None if (bound := draw(bounds)) is None else Decimal(bound),
        )
        for position in range(draw(st.integers(0, 4)))
    ]


def unit_by_unit(sources: list[Source], value: int, headroom: int | None) -> dict[int, int]:
    """Give every unit to the first source that has one left, else to the first that may still be overdrawn."""
    left = {one.id: one.left for one in sources}
    gave = dict.fromkeys(left, 0)
    for _ in range(value if headroom is None else min(value, max(headroom, 0))):
        able = next((one for one in sources if left[one.id] >= 1), None) or next(
            (one for one in sources if one.overage is None or left[one.id] - 1 >= -one.overage), None
        )
        if able is None:
            break
        left[able.id] -= 1
        gave[able.id] += 1
    return {key: count for key, count in gave.items() if count}


@given(wallets(), st.integers(0, 120), st.one_of(st.none(), st.integers(-5, 60)))
def test_taking_agrees_with_taking_unit_by_unit(sources: list[Source], value: int, headroom: int | None) -> None:
    result = deduct(sources, Decimal(value), behavior=CAP, headroom=None if headroom is None else Decimal(headroom))
    assert taken(result) == unit_by_unit(sources, value, headroom)
    assert result.complete == (result.applied == value)


@given(wallets(), st.integers(1, 120))
def test_reject_is_cap_when_everything_fits_and_nothing_otherwise(sources: list[Source], value: int) -> None:
    capped = deduct(sources, Decimal(value), behavior=CAP)
    rejected = deduct(sources, Decimal(value), behavior=REJECT)
    assert rejected.parts == (capped.parts if capped.complete else ())


@given(wallets(), st.integers(1, 120))
def test_a_refund_never_gives_back_more_than_was_used_and_never_takes(sources: list[Source], value: int) -> None:
    result = deduct(sources, Decimal(-value), behavior=CAP)
    by_id = {one.id: one for one in sources}
    for part in result.parts:
        assert -max(by_id[part.source_id].usage, -by_id[part.source_id].left) <= part.amount < 0
    assert -value <= result.applied <= 0


@given(
    wallets(),
    st.decimals("0.0001", "50", places=4),
    st.decimals("0.01", "9", places=2),
    st.decimals("0", "30", places=3),
)
def test_units_and_credits_agree_with_the_rate(
    sources: list[Source], value: Decimal, cost: Decimal, headroom: Decimal
) -> None:
    priced = [Source(s.id, s.left, s.usage, 1, cost=cost, overage=s.overage, is_own_feature=False) for s in sources]
    result = deduct(priced, value, behavior=CAP, credit_headroom={1: headroom})
    assert sum((part.amount for part in result.parts), Decimal(0)) <= headroom
    for part in result.parts:
        assert abs(part.units * cost - part.amount) <= cost * Decimal("1e-9")
    assert result.applied <= value
